/** What the fidelity suite says: the JSON of `kvquant eval --suite`, and what the report page draws. Documented in docs/fidelity-suite.md. */

import type { CacheMeasurement } from "../cache-measurement.js";
import type { Interval, ScoreSummary } from "../metrics/index.js";
import type { NumberRange } from "./position-groups.js";
import type { RetrievalPart, SuitePart } from "./suite-options.js";

/** Names the document. */
export const REPORT_SCHEMA = "kvquant/fidelity-report";
/** Raised when a field changes its meaning or goes; new fields do not raise it. */
export const REPORT_VERSION = 1;

/** The row of a cache under a tail, in every section. */
export interface RowName {
  readonly cache: string;
  /** Newest tokens exact; undefined for fp16. */
  readonly tail: number | undefined;
}

/** Scores of a group of positions. Errors are by batch means, undefined below two batches. */
export interface GroupScores {
  readonly tokens: number;
  readonly kldMean: number | undefined;
  readonly kldError: number | undefined;
  readonly top1: number | undefined;
  /** Mean of -log Q - (-log P) of the true token, nats. */
  readonly lossIncrease: number | undefined;
  readonly lossIncreaseError: number | undefined;
}

/** A group of places in the window. */
export interface PositionScores extends GroupScores, NumberRange {
  /** Mean share of the context, own token included, that these queries see compressed. */
  readonly compressedShare: number;
}

/** A group by distance to where the next token was seen last; `range` is undefined for tokens new to the window. */
export interface DistanceScores extends GroupScores {
  readonly range: NumberRange | undefined;
}

/** 95% intervals: mean +- 1.96 batch-means errors, batch bootstrap for quantiles. */
export interface ScoreIntervals {
  readonly perplexity: Interval | undefined;
  readonly deltaPerplexity: Interval | undefined;
  readonly kldMean: Interval | undefined;
  readonly kldMedian: Interval | undefined;
  readonly kld999: Interval | undefined;
  readonly top1: Interval | undefined;
}

/** One cache on windows of one length. */
export interface WindowRow extends RowName, ScoreSummary, CacheMeasurement {
  readonly sinkTokens: number;
  readonly intervals: ScoreIntervals;
  readonly byPosition: readonly PositionScores[];
  readonly byDistance: readonly DistanceScores[];
  readonly secondsPerWindow: number;
}

/** All caches on windows of one length. */
export interface WindowSection {
  /** Tokens of a window. */
  readonly length: number;
  readonly windows: number;
  /** SHA-256 of the windows' tokens. */
  readonly textFingerprint: string;
  /** True when each window starts with the tokenizer's beginning-of-text token. */
  readonly beginningOfText: boolean;
  readonly rows: readonly WindowRow[];
}

/** Relative squared errors of the pages of a cache: sum |x - decoded|^2 / sum |x|^2 over full pages of one window. */
export interface LayerRow {
  readonly cache: string;
  /** One entry a layer; a key error is undefined for keys quantized after RoPE. */
  readonly layers: readonly { readonly key: number | undefined; readonly value: number }[];
}

/** A range of steps of the continuations. */
export interface DriftSteps extends NumberRange {
  /** Teacher-forced: mean KL divergence and its share of equal most likely tokens. */
  readonly kldMean: number;
  readonly top1: number;
  /** Free running: share of equal tokens, and of continuations without any difference up to the end of the range. */
  readonly equal: number;
  readonly untilHere: number;
}

/** One cache along the greedy continuations of fp16. */
export interface DriftRow extends RowName {
  readonly prompts: number;
  /** Steps of all continuations. */
  readonly steps: number;
  readonly kldMean: number;
  readonly kldError: number | undefined;
  readonly top1: number;
  /** Mean number of tokens before the first difference, a continuation without one counting in full; its standard error over prompts. */
  readonly equalTokens: number;
  readonly equalTokensError: number | undefined;
  /** Continuations that never differ. */
  readonly identical: number;
  /** Share of equal tokens at equal places when running freely, mean over prompts; its standard error over prompts. */
  readonly freeAgreement: number;
  readonly freeAgreementError: number | undefined;
  readonly curve: readonly DriftSteps[];
}

/** All caches along the same continuations. */
export interface DriftSection {
  readonly prompts: number;
  readonly promptTokens: number;
  /** Tokens of a continuation at most. */
  readonly tokens: number;
  /** SHA-256 of the prompts' tokens. */
  readonly textFingerprint: string;
  readonly rows: readonly DriftRow[];
}

/** One cache in one retrieval task at one length. */
export interface RetrievalRow extends RowName {
  readonly trials: number;
  readonly passed: number;
  readonly share: number;
  /** Wilson, 95%. */
  readonly interval: Interval;
  /** Mean log-probability of the right answer, teacher-forced, nats; its standard error over trials. */
  readonly logProbability: number;
  readonly logProbabilityError: number | undefined;
  /** Mean difference to fp16 on the same trials. */
  readonly logProbabilityChange: number;
  readonly logProbabilityChangeError: number | undefined;
  readonly byDepth: readonly { readonly depth: number; readonly trials: number; readonly passed: number; readonly logProbability: number }[];
}

/** All caches in one retrieval task at one length. */
export interface RetrievalSection {
  readonly part: RetrievalPart;
  /** Tokens a prompt and its answer may have. */
  readonly length: number;
  /** Mean tokens of the prompts. */
  readonly promptTokens: number;
  /** False when fp16 itself passes fewer than 80% of the trials: shown, but nothing follows from it. */
  readonly conclusive: boolean;
  readonly rows: readonly RetrievalRow[];
}

/** A row that no other row of its tail beats in both bits and divergence. */
export interface ParetoPoint extends RowName {
  readonly bitsPerValue: number;
  readonly kldMean: number;
}

/** Everything measured. */
export interface FidelityReport {
  readonly schema: typeof REPORT_SCHEMA;
  readonly version: typeof REPORT_VERSION;
  readonly model: { readonly name: string; readonly fingerprint: string; readonly engine: string; readonly contextLength: number; readonly layers: number };
  readonly protocol: {
    readonly parts: readonly SuitePart[];
    readonly tails: readonly number[];
    readonly seed: number;
    readonly reference: "fp16 cache, same engine";
    readonly errors: "batch means of 64 tokens";
    readonly intervals: "95%";
  };
  /** Every run: its artifact's content, and what attends. */
  readonly caches: readonly (RowName & { readonly artifactHash: string; readonly sinkTokens: number; readonly backends: readonly string[] })[];
  readonly windows: readonly WindowSection[];
  readonly layers: readonly LayerRow[];
  readonly drift: DriftSection | undefined;
  readonly retrieval: readonly RetrievalSection[];
  /** Of the shortest windows. */
  readonly pareto: readonly ParetoPoint[];
}
