/** What a client asks of the engine and what it gets, part by part. */

import type { Sampling, TokenLogProbability } from "@kvquant/model";

/** A document whose cached pages are put after another prefix; see `splice` of a request. */
export interface Splice {
  /** Token ids of the document. They stand in the prompt at `at`, and were cached by a request whose prompt began with them. */
  readonly document: ArrayLike<number>;
  /** Position in the prompt of the document's first token. */
  readonly at: number;
}

/** One request. */
export interface GenerationRequest {
  /** Token ids, at least one. */
  readonly prompt: ArrayLike<number>;
  /** Most tokens that are generated, at least 1; with the prompt no more than the model's angles reach. */
  readonly maxTokens: number;
  /** Default: the most likely token, always. */
  readonly sampling?: Sampling | undefined;
  /** Seed of the random choices, default 0: the same seed gives the same text, alone or in a batch. */
  readonly seed?: number | undefined;
  /** Strings that end the text; they are not part of it. */
  readonly stop?: readonly string[] | undefined;
  /** Token ids that end the text; they are not part of it. */
  readonly stopTokens?: readonly number[] | undefined;
  /** Also stop at the model's own end tokens, default true. */
  readonly stopAtEnd?: boolean | undefined;
  /** Reports the log-probability of each token, and of this many of the likeliest ones (0 to 20). Undefined: none. */
  readonly logprobs?: number | undefined;
  /** Starts from this saved session when the prompt begins with its tokens, and saves under this id when done. */
  readonly session?: string | undefined;
  /** Whether cached prefixes may be used and left behind. Default: the engine's. The text is the same either way. */
  readonly prefixReuse?: boolean | undefined;
  /** Puts the pages of a document that was cached at another offset here, without computing them again. An approximation: what stood before the document then is not what stands there now. */
  readonly splice?: Splice | undefined;
  /** Cancels the request. */
  readonly signal?: AbortSignal | undefined;
}

/** What a request took. */
export interface Usage {
  readonly promptTokens: number;
  /** Prompt tokens that were not computed, because a cached prefix began with them. */
  readonly cachedTokens: number;
  /** Prompt tokens that stand in pages moved here from another offset; not among `cachedTokens`. */
  readonly splicedTokens: number;
  readonly completionTokens: number;
  /** From submission to the first token. */
  readonly firstTokenSeconds: number;
  /** From submission to the end. */
  readonly seconds: number;
  /** Bytes of the sequence's cache at the end, shared pages included. */
  readonly cacheBytes: number;
  /** What fp16 takes for as many tokens. */
  readonly fp16Bytes: number;
  /** How often it made room for older requests and was computed again. */
  readonly preemptions: number;
}

/** One token. */
export interface TokenPart {
  readonly type: "token";
  readonly token: number;
  /** Text that became certain with this token; may be empty. */
  readonly text: string;
  /** 0 for the first generated token. */
  readonly index: number;
  readonly logprob?: number;
  /** The likeliest tokens, likeliest first. */
  readonly top?: readonly TokenLogProbability[];
}

/** Parts of a generation, in this order: one start, a part for each token, one finish. */
export type GenerationPart =
  | { readonly type: "start"; readonly promptTokens: number; readonly cachedTokens: number; readonly waitedSeconds: number }
  | TokenPart
  | {
      readonly type: "finish";
      /** `end`: an end token or stop token; `stop`: a stop string; `length`: `maxTokens`. */
      readonly reason: "end" | "stop" | "length";
      /** Text that was held back; may be empty. */
      readonly text: string;
      readonly usage: Usage;
    };

/**
 * A request under way. Iterate it once; its errors are thrown there. Leaving the loop early cancels it.
 * An end or stop token is reported as a token part too, without text of its own.
 */
export interface Generation extends AsyncIterable<GenerationPart> {
  readonly id: string;
}
