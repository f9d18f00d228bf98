/** What calibration is fed: one window of text seen by one layer. */

import { check, checkFinite, checkLength } from "@kvquant/spec";
import type { CacheShape, Matrix } from "@kvquant/spec";

/**
 * Where the weights of the levels come from. `fisher`: squared loss gradients (the paper). `attention`: attention probabilities
 * and queries, from a forward pass alone. `none`: every value weighs 1, and feedback rounding has nothing to go by.
 */
export type Sensitivity = "fisher" | "attention" | "none";

const SENSITIVITIES: readonly unknown[] = ["fisher", "attention", "none"] satisfies Sensitivity[];

/** Throws INVALID_ARGUMENT for anything but the three words. */
export function checkSensitivity(what: string, sensitivity: unknown): asserts sensitivity is Sensitivity {
  check(SENSITIVITIES.includes(sensitivity), what, "fisher, attention or none", sensitivity);
}

/** What a forward pass knows about how much each key and value matters. */
export interface AttentionWeights {
  /** `[tokens * kvHeads]`: sum over queries and the group's heads of p - p^2, p = attention probability of this key. */
  readonly keyWeights: Float32Array;
  /** `[tokens * kvHeads]`: sum over queries and the group's heads of p^2. */
  readonly valueWeights: Float32Array;
  /** Queries before RoPE `[tokens, queryHeads * headDim]`. */
  readonly queries: Matrix;
}

/** Keys and values of tokens at positions 0, 1, ... of a window, with their sensitivities. Borrowed for the call. */
export interface LayerWindow {
  /** Keys before RoPE `[tokens, kvHeads * headDim]`. */
  readonly k: Matrix;
  /** Values `[tokens, kvHeads * headDim]`. */
  readonly v: Matrix;
  /** dLoss/dk before RoPE, the loss summed over the window's tokens; needed by `fisher`. */
  readonly keyGradients?: Matrix;
  /** dLoss/dv; needed by `fisher`. */
  readonly valueGradients?: Matrix;
  /** Needed by `attention`. */
  readonly attention?: AttentionWeights;
}

/** Throws INVALID_ARGUMENT for shapes that disagree, NaN or infinity, or a part that `sensitivity` needs and lacks. */
export function checkLayerWindow(window: LayerWindow, shape: CacheShape, sensitivity: Sensitivity): void {
  const columns = shape.kvHeads * shape.headDim;
  const tokens = window.k.rows;
  checkMatrix("window.k", window.k, tokens, columns);
  checkMatrix("window.v", window.v, tokens, columns);
  if (sensitivity === "fisher") {
    const { keyGradients, valueGradients } = window;
    check(keyGradients !== undefined && valueGradients !== undefined, "window", "keyGradients and valueGradients, which sensitivity fisher needs", "none");
    checkMatrix("window.keyGradients", keyGradients, tokens, columns);
    checkMatrix("window.valueGradients", valueGradients, tokens, columns);
  }
  if (sensitivity === "attention") {
    const { attention } = window;
    check(attention !== undefined, "window", "attention, which sensitivity attention needs", "none");
    checkMatrix("window.attention.queries", attention.queries, tokens, shape.queryHeads * shape.headDim);
    checkLength("window.attention.keyWeights", attention.keyWeights, tokens * shape.kvHeads);
    checkLength("window.attention.valueWeights", attention.valueWeights, tokens * shape.kvHeads);
    checkFinite("window.attention.keyWeights", attention.keyWeights);
    checkFinite("window.attention.valueWeights", attention.valueWeights);
  }
}

function checkMatrix(what: string, matrix: Matrix, rows: number, cols: number): void {
  check(matrix.rows === rows && matrix.cols === cols, what, `a matrix [${rows}, ${cols}]`, `[${matrix.rows}, ${matrix.cols}]`);
  checkLength(`${what}.data`, matrix.data, rows * cols);
  checkFinite(what, matrix.data);
}
