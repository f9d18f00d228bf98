/** What the making of a cache reports to: a command line shows bars, a server writes lines. */

/** Reports stages that follow each other. */
export interface PreparationProgress {
  /** Runs one stage; `summarize` adds a few words on how it went. */
  run<Result>(title: string, work: (update: (share: number, detail?: string) => void) => Promise<Result>, summarize?: (result: Result) => string): Promise<Result>;
  /** Says one sentence between stages. */
  note(text: string): void;
}

/** The surroundings of a preparation. */
export interface Preparation {
  readonly progress: PreparationProgress;
  /** Aborting it ends the work with CANCELLED. */
  readonly signal: AbortSignal;
}
