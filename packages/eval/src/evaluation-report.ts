/** What an evaluation says; the same names are the JSON of `kvquant eval --json`. */

import type { CacheMeasurement } from "./cache-measurement.js";
import type { ScoreSummary } from "./metrics/index.js";

/** How the figures were made. */
export interface EvaluationProtocol {
  /** Tokens of a window. */
  readonly context: number;
  readonly windows: number;
  /** SHA-256 of the windows' tokens. */
  readonly textFingerprint: string;
  /** True when each window starts with the tokenizer's beginning-of-text token. */
  readonly beginningOfText: boolean;
  /** Newest tokens exact, for each group of rows; 0: every position after the sinks is seen compressed, its own too. */
  readonly tails: readonly number[];
  readonly scored: "every position after the first";
  /** What divergences and deltas are taken against. */
  readonly reference: "fp16 cache, same engine";
  readonly errors: "batch means of 64 tokens";
}

/** One cache under one tail. Errors and bits are absent where they are undefined: below two batches, without a full page. */
export interface EvaluationRow extends ScoreSummary, CacheMeasurement {
  readonly cache: string;
  readonly tail: number;
  readonly sinkTokens: number;
  /** Forward pass, and scoring for rows other than fp16; fp16 as recorded when it was run. */
  readonly secondsPerWindow: number;
}

/** The result of `evaluateCaches`: rows grouped by tail, within a tail in the order of the caches asked for. */
export interface EvaluationReport {
  readonly model: string;
  readonly engine: string;
  readonly protocol: EvaluationProtocol;
  readonly rows: readonly EvaluationRow[];
}
