/** Stage: brings a page to [-1, 1]. */

import { KvquantError } from "@kvquant/spec";
import type { Axis, Matrix } from "@kvquant/spec";
import { keyRange, normalisedKeys } from "../calibration/key-range.js";
import { corrupt } from "../corrupt.js";
import { halfScale, halfZero } from "../quantizers/channel-keys.js";
import { valueHistogram } from "../quantizers/token-values.js";
import { packHalves, parameter, unpackHalves } from "./parameters.js";
import type { Stage } from "./stage.js";

/**
 * Subtracts a zero point and divides by a scale (fp16): by channel with calibrated numbers (keys only, KVQuant section 3.1), or by
 * token with numbers stored in the block, 4 bytes a token.
 */
export function normalize({ axis }: { readonly axis: Axis }): Stage {
  return axis === "channel" ? normalizeChannels() : normalizeTokens();
}

function normalizeChannels(): Stage {
  return {
    specVersion: 1,
    id: "kvquant/normalize:channel",
    fit({ statistics, side, outlierFraction, range, mixed }) {
      if (side !== "key" || mixed) throw new KvquantError("UNSUPPORTED", "normalize by channel: expected keys before any rotation, the only rows with ranges of channels, got others; use axis token");
      const channels = range ?? keyRange(statistics.key, outlierFraction);
      const scale = halfScale(channels);
      const zero = halfZero(channels);
      return { parameters: { scale, zero }, context: { histogram: normalisedKeys(statistics.key, channels, scale, zero) } };
    },
    forward(x, parameters) {
      const scale = parameter(parameters, "scale", x.cols);
      const zero = parameter(parameters, "zero", x.cols);
      forEachValue(x, (value, _row, col) => (scale[col] === 0 ? 0 : (value - zero[col]!) / scale[col]!));
      return { bytes: new Uint8Array(0) };
    },
    inverse(x, side, parameters) {
      if (side.length > 0) throw corrupt("normalize by channel: side data", "none", `${side.length} bytes`);
      const scale = parameter(parameters, "scale", x.cols);
      const zero = parameter(parameters, "zero", x.cols);
      forEachValue(x, (value, _row, col) => value * scale[col]! + zero[col]!);
    },
  };
}

function normalizeTokens(): Stage {
  return {
    specVersion: 1,
    id: "kvquant/normalize:token",
    fit({ statistics, side, outlierFraction, mixed }) {
      const known = side === "value" && !mixed && statistics.value.fractions.some(({ fraction }) => fraction === outlierFraction);
      return { parameters: {}, context: { histogram: known ? valueHistogram(statistics, outlierFraction) : undefined } };
    },
    forward(x) {
      const numbers = new Float32Array(2 * x.rows);
      for (let row = 0; row < x.rows; row++) {
        let low = Number.POSITIVE_INFINITY;
        let high = Number.NEGATIVE_INFINITY;
        for (let col = 0; col < x.cols; col++) {
          const value = x.data[row * x.cols + col]!;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
        numbers[row] = (high - low) / 2;
        numbers[x.rows + row] = (high + low) / 2;
      }
      const bytes = packHalves(numbers);
      forEachValue(x, (value, row) => (numbers[row] === 0 ? 0 : (value - numbers[x.rows + row]!) / numbers[row]!));
      return { bytes };
    },
    inverse(x, side) {
      if (side.length !== 4 * x.rows) throw corrupt("normalize by token: side data", `${4 * x.rows} bytes`, side.length);
      const numbers = unpackHalves(side, 0, 2 * x.rows);
      forEachValue(x, (value, row) => value * numbers[row]! + numbers[x.rows + row]!);
    },
  };
}

function forEachValue(x: Matrix, change: (value: number, row: number, col: number) => number): void {
  for (let row = 0; row < x.rows; row++) {
    for (let col = 0; col < x.cols; col++) x.data[row * x.cols + col] = change(x.data[row * x.cols + col]!, row, col);
  }
}
