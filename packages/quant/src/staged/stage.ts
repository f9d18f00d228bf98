/** The parts that `staged` builds quantizers from. */

import type { Bits, Matrix, Side } from "@kvquant/spec";
import type { ChannelRange } from "../calibration/key-range.js";
import type { LayerStatistics, NormalisedHistogram } from "../calibration/layer-statistics.js";

/** Arrays that a stage or coder learns, by name. */
export type Parameters = Readonly<Record<string, Float32Array>>;

/** What is known, stage by stage, about the data that reaches the next one. */
export interface FitContext {
  readonly statistics: LayerStatistics;
  readonly side: Side;
  /** Fraction of outliers that earlier stages take out; 0 at first. */
  readonly outlierFraction: number;
  /** Range of each channel that earlier stages leave; absent when unknown, such as after a rotation. */
  readonly range?: ChannelRange | undefined;
  /** Whether channels were mixed, so that statistics of channels no longer apply. */
  readonly mixed: boolean;
  /** Data as it reaches the coder, once a stage normalises it and the statistics know its distribution. */
  readonly histogram?: NormalisedHistogram | undefined;
}

/** Outcome of fitting a stage. */
export interface StageFit {
  readonly parameters: Parameters;
  /** What changes for later stages. */
  readonly context: Partial<FitContext>;
}

/** Outcome of a stage's forward step. */
export interface StageSide {
  /** What `inverse` needs; stored in the block and counted in its bits. */
  readonly bytes: Uint8Array;
  /** Outliers that found no slot. */
  readonly saturated?: number;
}

/** A transform of a page that decoding undoes. Pure: the same page and parameters give the same result. */
export interface Stage {
  readonly specVersion: 1;
  /** Namespaced; recorded in the artifact. */
  readonly id: string;
  /** @throws UNSUPPORTED when the statistics lack what it needs */
  fit(context: FitContext): StageFit;
  /** Transforms `x` `[tokens, kvHeads * headDim]` in place. */
  forward(x: Matrix, parameters: Parameters): StageSide;
  /**
   * Undoes `forward` in place, exactly or to rounding.
   * @throws CORRUPT_DATA for bytes that `forward` cannot have made
   */
  inverse(x: Matrix, side: Uint8Array, parameters: Parameters): void;
}

/** Turns normalised numbers into codes and back. */
export interface Coder {
  readonly specVersion: 1;
  readonly id: string;
  readonly bits: Bits;
  fit(context: FitContext): Parameters;
  /** Writes the code of each number of `x` to `codes`. */
  encode(x: Float32Array, codes: Uint8Array, parameters: Parameters): void;
  /** Writes the number of each code to `x`; codes below 2^bits are all valid. */
  decode(codes: Uint8Array, x: Float32Array, parameters: Parameters): void;
}
