/** Calibration of a model on a text: statistics that every preset is fitted from, kept for the next time. */

import { checkSensitivity, createStatisticsCollector } from "@kvquant/quant";
import type { CalibrationStatistics, LayerWindow, Sensitivity, StatisticsCollector } from "@kvquant/quant";
import { checkInteger } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import { openCalibrationStore } from "./calibration-store.js";
import type { CalibrationKey } from "./calibration-store.js";
import { checkNumbers } from "./check-numbers.js";
import { windowStart } from "./evaluation-model.js";
import type { CalibrationModel } from "./evaluation-model.js";
import { fingerprintTokens } from "./fingerprint-tokens.js";
import { throwIfCancelled } from "./throw-if-cancelled.js";
import { cutWindows } from "./windows.js";

/** Where a calibration stands. */
export interface CalibrationProgress {
  /** 1-based, of `windows`. */
  readonly window: number;
  readonly windows: number;
  /** Layer steps done of all windows; with gradients a layer takes two. */
  readonly done: number;
  readonly total: number;
}

/** What to calibrate on, and how. */
export interface CalibrationOptions {
  /** Tokens of the text, without special ones. */
  readonly tokens: ArrayLike<number>;
  /** At most this many windows. */
  readonly sequences: number;
  /** Tokens of a window. */
  readonly length: number;
  /** First tokens of each window left out of every statistic; the caches fitted from it keep as many exact. */
  readonly sinkTokens: number;
  /** `fisher`: true gradients; `attention`: a forward pass and its attention; `none`: a forward pass, every value weighs the same. */
  readonly sensitivity: Sensitivity;
  /** Keeps the statistics here. */
  readonly folder?: string | undefined;
  readonly onProgress?: ((progress: CalibrationProgress) => void) | undefined;
  /** Told in a sentence of what a user should know, such as a stored file found damaged. */
  readonly onNotice?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Statistics, and where they come from. */
export interface Calibration {
  readonly statistics: CalibrationStatistics;
  /** True when they were read from the folder. */
  readonly fromCache: boolean;
  /** Seconds that the run took, also when it was an earlier one. */
  readonly seconds: number;
  /** Windows used: what the text fills, at most `sequences`. */
  readonly sequences: number;
  readonly length: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  /** SHA-256 of the windows' tokens. */
  readonly textFingerprint: string;
  /** Mean next-token loss in nats; only gradients compute it. */
  readonly loss: number | undefined;
}

/**
 * Streams windows of the text through the model into statistics, in memory that does not grow with the text, or reads the statistics
 * of an earlier run with the same model, text and settings.
 * @throws INVALID_ARGUMENT for a text shorter than a window or settings that make no sense
 * @throws CORRUPT_DATA for NaN in activations or gradients, naming layer and place; CANCELLED
 */
export async function calibrateModel(model: CalibrationModel, options: CalibrationOptions): Promise<Calibration> {
  const { sequences, length, sinkTokens, sensitivity, signal } = options;
  checkInteger("sequences", sequences, { minimum: 1 });
  checkInteger("length", length, { minimum: 2 });
  checkInteger("sinkTokens", sinkTokens, { minimum: 0, maximum: length - 1 });
  checkSensitivity("sensitivity", sensitivity);
  const windows = cutWindows(options.tokens, { length, count: sequences, bos: windowStart(model.tokenizer) });
  const textFingerprint = fingerprintTokens(windows);
  const key: CalibrationKey = { fingerprint: model.fingerprint, textFingerprint, sequences: windows.length, length, sinkTokens, sensitivity };
  const shared = { sequences: windows.length, length, tokens: windows.length * length, textFingerprint };

  const store = options.folder === undefined ? undefined : openCalibrationStore(options.folder, options.onNotice);
  const stored = await store?.read(key);
  if (stored !== undefined) return { ...stored, ...shared, fromCache: true };

  const began = performance.now();
  const { layers, queryHeads, kvHeads, headDim, rope } = model.config;
  const collector = createStatisticsCollector({ shape: { layers, queryHeads, kvHeads, headDim }, rope, sinkTokens, sensitivity });
  let lossSum = 0;
  let scored = 0;
  for (const [index, window] of windows.entries()) {
    throwIfCancelled(signal, "calibration");
    const onProgress = (done: number, total: number): void =>
      options.onProgress?.({ window: index + 1, windows: windows.length, done: index * total + done, total: windows.length * total });
    const pass = await addWindow(model, collector, window, { sensitivity, signal, onProgress });
    lossSum += pass.loss;
    scored += pass.scored;
  }
  const statistics = collector.finish();
  const fresh = { statistics, seconds: (performance.now() - began) / 1000, loss: scored === 0 ? undefined : lossSum / scored };
  await store?.write(key, fresh);
  return { ...fresh, ...shared, fromCache: false };
}

interface PassOptions {
  readonly sensitivity: Sensitivity;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (done: number, total: number) => void;
}

/** Runs one window and adds every layer of it; returns the summed loss of the scored tokens, 0 of 0 without gradients. */
async function addWindow(model: CalibrationModel, collector: StatisticsCollector, window: Int32Array, { sensitivity, signal, onProgress }: PassOptions): Promise<{ loss: number; scored: number }> {
  if (sensitivity === "fisher") {
    return model.gradients(window, {
      signal,
      onProgress,
      onLayer({ layer, k, v, keyGradients, valueGradients }) {
        checkLayer(model, layer, { keys: k, values: v, "key gradients": keyGradients, "value gradients": valueGradients });
        collector.add(layer, { k, v, keyGradients, valueGradients });
      },
    });
  }
  await model.captureAttention(window, {
    signal,
    onProgress,
    onLayer({ layer, k, v, queries, keyWeights, valueWeights }) {
      checkLayer(model, layer, { keys: k, values: v, queries });
      const layerWindow: LayerWindow = sensitivity === "none" ? { k, v } : { k, v, attention: { queries, keyWeights, valueWeights } };
      collector.add(layer, layerWindow);
    },
  });
  return { loss: 0, scored: 0 };
}

function checkLayer(model: CalibrationModel, layer: number, matrices: Readonly<Record<string, Matrix>>): void {
  for (const [name, matrix] of Object.entries(matrices)) checkNumbers(`${name} of layer ${layer} of ${model.name}`, matrix.data, matrix.cols);
}
