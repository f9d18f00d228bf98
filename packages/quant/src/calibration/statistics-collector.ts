/** Calibration: one pass over any number of windows, in memory that does not grow with them. */

import { createRope } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import { check, checkCacheShape, checkInteger, KvquantError } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import type { Geometry } from "../geometry.js";
import { encodeScaledHalves } from "./held-out-page.js";
import type { HeldOutPage } from "./held-out-page.js";
import { keyAccumulator } from "./key-accumulator.js";
import type { CalibrationStatistics } from "./layer-statistics.js";
import { checkLayerWindow, checkSensitivity } from "./layer-window.js";
import type { LayerWindow, Sensitivity } from "./layer-window.js";
import { valueAccumulator } from "./value-accumulator.js";
import { sortRows } from "./window-rows.js";

/** What a collector is made for. */
export interface CollectorOptions {
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  /** First tokens of each window, left out of every statistic (attention sinks); 0 to 64. */
  readonly sinkTokens: number;
  readonly sensitivity: Sensitivity;
}

/** Takes windows layer by layer, in the same order for each layer. */
export interface StatisticsCollector {
  /**
   * Adds one window of one layer.
   * @throws INVALID_ARGUMENT for a wrong shape, NaN or infinity, or gradients or attention that are missing; the collector is unchanged
   */
  add(layer: number, window: LayerWindow): void;
  /**
   * The statistics of everything added; ends the collector, which hands its memory over.
   * @throws INVALID_ARGUMENT when a layer saw no token besides sinks and held-out pages, or layers saw different windows
   */
  finish(): CalibrationStatistics;
}

/**
 * Creates a collector. The statistics serve every preset: histograms of raw keys by channel, of page-normalised keys and of
 * token-normalised values, the matrices H of feedback rounding, moments of rotated values, and up to 16 pages held out.
 * Source: KVQuant sections 3.1 to 3.4; H after GPTQ (Frantar et al. 2022).
 * @throws INVALID_ARGUMENT
 */
export function createStatisticsCollector({ shape, rope: config, sinkTokens, sensitivity }: CollectorOptions): StatisticsCollector {
  checkCacheShape(shape);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0, maximum: 64 });
  checkSensitivity("sensitivity", sensitivity);
  check(config.headDim === shape.headDim, "rope.headDim", `the shape's head dim ${shape.headDim}`, config.headDim);
  const rope = createRope(config);
  const geometry: Geometry = { kvHeads: shape.kvHeads, headDim: shape.headDim, rotaryDim: config.rotaryDim };
  const layers = Array.from({ length: shape.layers }, () => ({
    key: keyAccumulator({ shape, rope, sensitivity }),
    value: valueAccumulator(shape, sensitivity),
    heldOut: [] as HeldOutPage[],
    tokens: 0,
    windows: 0,
  }));
  let finished = false;

  return {
    add(layer, window) {
      checkOpen(finished);
      checkInteger("layer", layer, { minimum: 0, maximum: shape.layers - 1 });
      checkLayerWindow(window, shape, sensitivity);
      const state = layers[layer]!;
      const rows = sortRows(window.k.rows, sinkTokens, state.heldOut.length);
      for (const position of rows.heldOut) state.heldOut.push(holdOut(window, sensitivity, { window: state.windows, position }));
      state.key.add(window, rows);
      state.value.add(window, rows);
      state.tokens += rows.counted.length;
      state.windows++;
    },
    finish() {
      checkOpen(finished);
      const { tokens, windows } = layers[0]!;
      for (const [index, layer] of layers.entries()) {
        check(layer.tokens > 0, `calibration of layer ${index}`, "at least one token beside sinks and held-out pages", layer.tokens);
        check(layer.tokens === tokens && layer.windows === windows, `calibration of layer ${index}`, `${tokens} tokens in ${windows} windows as in layer 0`, `${layer.tokens} in ${layer.windows}`);
      }
      finished = true;
      return {
        shape,
        rope: config,
        sinkTokens,
        sensitivity,
        windows,
        layers: layers.map((layer) => ({ geometry, sensitivity, tokens, key: layer.key.finish(), value: layer.value.finish(), heldOut: layer.heldOut })),
      };
    },
  };
}

function checkOpen(finished: boolean): void {
  if (finished) throw new KvquantError("DISPOSED", "statistics collector: expected an open collector, got one that has finished; create another");
}

function holdOut({ k, v, keyGradients, valueGradients }: LayerWindow, sensitivity: Sensitivity, place: { window: number; position: number }): HeldOutPage {
  const { position } = place;
  return {
    ...place,
    keys: encodeScaledHalves(k, position),
    values: encodeScaledHalves(v, position),
    ...(sensitivity === "fisher" && { keyGradients: encodeScaledHalves(keyGradients!, position), valueGradients: encodeScaledHalves(valueGradients!, position) }),
  };
}
