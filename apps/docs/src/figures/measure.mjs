// What the figures of the concept pages show, measured on a real model with the project's own packages.
import { readFileSync } from "node:fs";
import { calibrateModel, makeArtifact } from "@kvquant/eval";
import { defaultText, loadModel } from "@kvquant/model";
import { openArtifact } from "@kvquant/quant";
import { applyRope, createRope } from "@kvquant/rope";
import { PAGE_TOKENS } from "@kvquant/spec";

/** @typedef {import("@kvquant/spec").Matrix} Matrix */
/** @typedef {import("@kvquant/spec").QuantizerArtifact} QuantizerArtifact */
/** @typedef {import("@kvquant/model").LanguageModel} LanguageModel */
/** @typedef {{ readonly rows: number, readonly cols: number, readonly values: readonly number[] }} Grid */

/**
 * @typedef {object} FigureData
 * @property {string} model
 * @property {number} layer 0-based, whose keys and values are drawn
 * @property {number} head 0-based
 * @property {number} headDim
 * @property {Grid} keys magnitudes before RoPE `[tokens, kvHeads * headDim]`
 * @property {Grid} rotatedKeys the same keys after RoPE, magnitudes
 * @property {Grid} values magnitudes
 * @property {{ channel: number, before: readonly number[], after: readonly number[] }} trace one channel, token by token
 * @property {{ channel: number, values: readonly number[], low: number, high: number, wide: readonly number[], narrow: readonly number[] }} channel one channel's values; thresholds of 1%; levels without and with outliers kept apart
 * @property {readonly number[]} narrowing of every channel of the layer: its range over the distance of its thresholds, in calibration
 * @property {Readonly<Record<string, readonly number[]>>} keyErrors by cache, layer by layer: squared error of keys over their energy
 * @property {Readonly<Record<string, readonly number[]>>} valueErrors the same of values
 */

/** Caches whose pages are measured; all at 3 bits. */
const CACHES = ["keys-token-post", "keys-channel-post", "keys-channel-pre", "nuq3", "nuq3-1%"];
/** Tokens drawn in heat maps. */
const DRAWN_TOKENS = 256;

/**
 * Calibrates on the text that ships for the model and measures on another one.
 * @param {{ model: string, data: string, layer: number, head: number, channel: number, length: number, onProgress: (text: string) => void }} options
 *   `data`: path of the text; `layer`, `head` and `channel` (of the head): what is drawn; `length`: tokens read
 * @returns {Promise<FigureData>}
 */
export async function measureFigures({ model: name, data, layer, head, channel, length, onProgress }) {
  const model = await loadModel(name, { engine: "reference" });
  try {
    const own = model.tokenizer.encode(readFileSync(/** @type {string} */ (defaultText(name)), "utf8"), { addSpecial: false });
    onProgress("calibrating");
    // Every value weighs the same: levels are then those of least squared error, which is what is drawn.
    const calibration = await calibrateModel(model, { tokens: own, sequences: 2, length: 2048, sinkTokens: 1, sensitivity: "none" });
    const codecs = new Map(CACHES.map((cache) => [cache, openArtifact(makeArtifact(model, cache, calibration))]));
    const narrow = makeArtifact(model, "nuq3-1%", calibration).layers[layer]?.key;
    const wide = makeArtifact(model, "nuq3", calibration).layers[layer]?.key;
    const text = model.tokenizer.encode(readFileSync(data, "utf8").slice(0, 16 * length), { addSpecial: false }).subarray(0, length);
    /** @type {Record<string, number[]>} */
    const keyErrors = {};
    /** @type {Record<string, number[]>} */
    const valueErrors = {};
    /** @type {Partial<FigureData>} */
    const drawn = {};
    await model.captureAttention(text, {
      onLayer({ layer: index, k, v }) {
        onProgress(`layer ${index}`);
        const rotated = rotate(model, k);
        for (const [cache, layers] of codecs) {
          const { key, value, keyFrame } = /** @type {import("@kvquant/quant").LayerCodecs} */ (layers[index]);
          (keyErrors[cache] ??= []).push(relativeError(key, keyFrame === "pre-rope" ? k : rotated));
          (valueErrors[cache] ??= []).push(relativeError(value, v));
        }
        if (index === layer && wide !== undefined && narrow !== undefined) Object.assign(drawn, drawLayer({ k, v, rotated }, { column: head * model.config.headDim + channel, wide, narrow }));
      },
    });
    return /** @type {FigureData} */ ({ ...drawn, model: name, layer, head, headDim: model.config.headDim, keyErrors, valueErrors });
  } finally {
    await model.dispose();
  }
}

/** Keys after RoPE, at positions 0 and on. @param {LanguageModel} model @param {Matrix} k @returns {Matrix} */
function rotate({ config }, k) {
  const data = k.data.slice(0, k.rows * k.cols);
  const { headDim, kvHeads, rope } = config;
  applyRope(data, createRope(rope).tables(0, k.rows, k.rows), { rows: k.rows, heads: kvHeads, headDim, rotaryDim: rope.rotaryDim, pairing: "half" });
  return { data, rows: k.rows, cols: k.cols };
}

/**
 * Squared error of all full pages after the first token, a sink, over the energy of what is in them.
 * @param {import("@kvquant/spec").BlockCodec} codec @param {Matrix} x @returns {number}
 */
function relativeError(codec, { data, rows, cols }) {
  const decoded = new Float32Array(PAGE_TOKENS * cols);
  let error = 0;
  let energy = 0;
  for (let start = 1; start + PAGE_TOKENS <= rows; start += PAGE_TOKENS) {
    const page = data.slice(start * cols, (start + PAGE_TOKENS) * cols);
    codec.decode(codec.encode({ data: page, rows: PAGE_TOKENS, cols }), { data: decoded, rows: PAGE_TOKENS, cols });
    for (const [index, value] of page.entries()) {
      error += (value - /** @type {number} */ (decoded[index])) ** 2;
      energy += value ** 2;
    }
  }
  return error / energy;
}

/**
 * @param {{ k: Matrix, v: Matrix, rotated: Matrix }} matrices
 * @param {{ column: number, wide: QuantizerArtifact, narrow: QuantizerArtifact }} of the traced channel, and keys fitted without and with outliers kept apart
 * @returns {Partial<FigureData>}
 */
function drawLayer({ k, v, rotated }, { column, wide, narrow }) {
  const narrowing = Array.from({ length: k.cols }, (_, index) => arrayOf(wide, "scale", index) / arrayOf(narrow, "scale", index));
  // A channel with more outliers than most: the 95th of 100.
  const shown = /** @type {number} */ ([...narrowing.keys()].sort((a, b) => /** @type {number} */ (narrowing[a]) - /** @type {number} */ (narrowing[b]))[Math.floor(0.95 * k.cols)]);
  const [scale, zero] = [arrayOf(narrow, "scale", shown), arrayOf(narrow, "zero", shown)];
  return {
    keys: magnitudes(k),
    rotatedKeys: magnitudes(rotated),
    values: magnitudes(v),
    trace: { channel: column, before: columnOf(k, column, DRAWN_TOKENS), after: columnOf(rotated, column, DRAWN_TOKENS) },
    channel: { channel: shown, values: columnOf(k, shown, k.rows), low: zero - scale, high: zero + scale, wide: levelsOf(wide, shown), narrow: levelsOf(narrow, shown) },
    narrowing: narrowing.map((value) => Math.round(1000 * value) / 1000),
  };
}

/** Levels of a channel in its own units. @param {QuantizerArtifact} artifact @param {number} column @returns {number[]} */
function levelsOf(artifact, column) {
  return Array.from(artifact.arrays["levels"] ?? [], (level) => level * arrayOf(artifact, "scale", column) + arrayOf(artifact, "zero", column));
}

/** One number of an artifact. @param {QuantizerArtifact} artifact @param {string} name @param {number} index */
function arrayOf({ arrays }, name, index) {
  const value = arrays[name]?.[index];
  if (value === undefined) throw new Error(`expected an artifact with ${name}[${index}]`);
  return value;
}

/** @param {Matrix} x @returns {Grid} of the tokens after the first */
function magnitudes({ data, cols }) {
  return { rows: DRAWN_TOKENS, cols, values: Array.from(data.subarray(cols, (1 + DRAWN_TOKENS) * cols), (value) => Math.round(1000 * Math.abs(value)) / 1000) };
}

/** @param {Matrix} x @param {number} column @param {number} rows @returns {number[]} of the tokens after the first */
function columnOf({ data, cols }, column, rows) {
  return Array.from({ length: Math.min(rows, data.length / cols - 1) }, (_, row) => Math.round(1000 * /** @type {number} */ (data[(1 + row) * cols + column])) / 1000);
}
