/** A two-layer attention model in plain TypeScript over real caches, small enough to check by hand. */

import { createKvCache } from "@kvquant/cache";
import type { KvCache, KvCacheOptions, LayerPlan } from "@kvquant/cache";
import type { KvqArtifact } from "@kvquant/quant";
import type { BlockCodec, CacheShape } from "@kvquant/spec";
import type { CalibrationModel } from "../evaluation-model.js";
import type { SuiteModel } from "../suite/suite-model.js";

const shape: CacheShape = { layers: 2, queryHeads: 2, kvHeads: 1, headDim: 8 };
/** Rotary tables of base 100, by definition. */
const rope: KvCacheOptions["rope"] = {
  config: { headDim: 8, rotaryDim: 8, base: 100, scaling: { type: "none" } },
  dependsOnLength: false,
  tables(start, count) {
    const angles = Array.from({ length: 4 * count }, (_, index) => (start + Math.floor(index / 4)) * 100 ** -((index % 4) / 4));
    return { start, count, cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin), attentionFactor: 1 };
  },
};
const width = 16;
const vocabulary = 23;

/** Counts what was asked of the model. */
export interface ToyModel {
  readonly model: SuiteModel & CalibrationModel;
  readonly calls: { forward: number; gradients: number; attention: number };
}

/** What to vary. */
export interface ToyOptions {
  readonly bos?: number;
  readonly eos?: readonly number[];
  readonly fingerprint?: string;
  /** Put NaN into the values of this layer. */
  readonly brokenLayer?: number;
}

/** Stands for a `.kvq` artifact: values are rounded to multiples of `step`. */
export function toyArtifact(step: number, sinkTokens = 1): KvqArtifact {
  return { step, sinkTokens, layers: [] } as unknown as KvqArtifact;
}

/** Uniform random numbers in [-1, 1) (Park and Miller 1988). */
function randomArray(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (state * 48271) % 2147483647;
    return (2 * state) / 2147483647 - 1;
  });
}

/** x `[rows, inner]` times w `[columns, inner]` transposed. */
function product(x: Float32Array, w: Float32Array, inner: number): Float32Array {
  const rows = x.length / inner;
  const columns = w.length / inner;
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let index = 0; index < inner; index++) sum += x[row * inner + index]! * w[column * inner + index]!;
      out[row * columns + column] = sum;
    }
  }
  return out;
}

/** One signed byte a value: multiples of `step`. */
function roundingCodec(step: number): BlockCodec {
  return {
    encode: (x) => ({
      tokens: x.rows,
      bytes: new Uint8Array(Int8Array.from(x.data.subarray(0, x.rows * x.cols), (value) => Math.max(-127, Math.min(127, Math.round(value / step)))).buffer),
      saturated: 1,
      clamped: 0,
    }),
    decode(block, out) {
      const codes = new Int8Array(block.bytes.buffer, block.bytes.byteOffset, block.bytes.length);
      for (let index = 0; index < codes.length; index++) out.data[index] = codes[index]! * step;
    },
  };
}

/** Makes the model; the same weights every time. */
export function createToyModel(options: ToyOptions = {}): ToyModel {
  const keyColumns = shape.kvHeads * shape.headDim;
  const queryColumns = shape.queryHeads * shape.headDim;
  const embedding = randomArray(vocabulary * width, 11);
  const layers = Array.from({ length: shape.layers }, (_, layer) => ({
    query: randomArray(queryColumns * width, 100 + layer),
    key: randomArray(keyColumns * width, 200 + layer),
    value: randomArray(keyColumns * width, 300 + layer),
    output: randomArray(width * queryColumns, 400 + layer).map((value) => value / 2),
  }));
  const calls = { forward: 0, gradients: 0, attention: 0 };
  const embed = (tokens: ArrayLike<number>): Float32Array => {
    const x = new Float32Array(tokens.length * width);
    for (let row = 0; row < tokens.length; row++) x.set(embedding.subarray(tokens[row]! * width, (tokens[row]! + 1) * width), row * width);
    return x;
  };
  const matrix = (data: Float32Array, cols: number) => ({ data, rows: data.length / cols, cols });
  const breakIf = (layer: number, data: Float32Array): Float32Array => {
    if (layer === options.brokenLayer) data[keyColumns + 3] = NaN;
    return data;
  };
  const model = {
    name: "toy",
    engine: "toy-engine",
    fingerprint: options.fingerprint ?? "toy-fingerprint",
    config: { ...shape, width, vocabulary, rope: rope.config, contextLength: 4096 },
    tokenizer: {
      addBos: options.bos !== undefined,
      bos: options.bos,
      eos: options.eos ?? [],
      encode: (text: string) => Int32Array.from(text, (letter) => 1 + (letter.charCodeAt(0) % (vocabulary - 1))),
      decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => String.fromCharCode(65 + id)).join(""),
    },
    createCache({ artifact, tailTokens = 64, quantizeOpenPage = false }: { artifact: KvqArtifact | "fp16"; tailTokens?: number; quantizeOpenPage?: boolean }): KvCache {
      const { step, sinkTokens } = artifact === "fp16" ? { step: 0, sinkTokens: 1 } : (artifact as unknown as { step: number; sinkTokens: number });
      const plan: LayerPlan = { key: roundingCodec(step), value: roundingCodec(step), keyFrame: "pre-rope", tableBytes: 10 };
      const plans = artifact === "fp16" ? ("fp16" as const) : layers.map(() => plan);
      return createKvCache({ shape, rope, layers: plans, sinkTokens, tailTokens, quantizeOpenPage });
    },
    async forward(tokens: ArrayLike<number>, cache: KvCache, { onLayer }: { onLayer?: (done: number) => void } = {}): Promise<Float32Array> {
      calls.forward++;
      let x = embed(tokens);
      for (const [layer, weights] of layers.entries()) {
        const store = cache.layer(layer);
        store.append(matrix(product(x, weights.key, width), keyColumns), matrix(product(x, weights.value, width), keyColumns));
        const out = new Float32Array(tokens.length * queryColumns);
        await store.attend(matrix(product(x, weights.query, width), queryColumns), matrix(out, queryColumns));
        const added = product(out, weights.output, queryColumns);
        x = x.map((value, index) => value + added[index]!);
        if (layer === options.brokenLayer) x[width + 3] = NaN;
        onLayer?.(layer + 1);
      }
      return x;
    },
    async logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
      const logits = product(hidden.subarray(0, rows * width), embedding, width);
      for (let row = 0; row < rows; row++) {
        const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
        const total = Math.log(own.reduce((sum, value) => sum + Math.exp(value), 0));
        own.forEach((value, index) => (own[index] = value - total));
      }
      return logits;
    },
    async gradients(tokens: ArrayLike<number>, { onLayer, onProgress }: Parameters<CalibrationModel["gradients"]>[1]) {
      calls.gradients++;
      const x = embed(tokens);
      for (let layer = shape.layers - 1; layer >= 0; layer--) {
        const weights = layers[layer]!;
        onLayer({
          layer,
          k: matrix(product(x, weights.key, width), keyColumns),
          v: matrix(breakIf(layer, product(x, weights.value, width)), keyColumns),
          keyGradients: matrix(randomArray(tokens.length * keyColumns, 500 + layer), keyColumns),
          valueGradients: matrix(randomArray(tokens.length * keyColumns, 600 + layer), keyColumns),
        });
        onProgress?.(shape.layers - layer, shape.layers);
      }
      return { loss: 2 * (tokens.length - 1), scored: tokens.length - 1 };
    },
    async captureAttention(tokens: ArrayLike<number>, { onLayer, onProgress }: Parameters<CalibrationModel["captureAttention"]>[1]) {
      calls.attention++;
      const x = embed(tokens);
      for (const [layer, weights] of layers.entries()) {
        onLayer({
          layer,
          k: matrix(product(x, weights.key, width), keyColumns),
          v: matrix(breakIf(layer, product(x, weights.value, width)), keyColumns),
          queries: matrix(product(x, weights.query, width), queryColumns),
          keyWeights: randomArray(tokens.length, 700 + layer).map(Math.abs),
          valueWeights: randomArray(tokens.length, 800 + layer).map(Math.abs),
        });
        onProgress?.(layer + 1, shape.layers);
      }
    },
  };
  return { model: model as unknown as SuiteModel & CalibrationModel, calls };
}

/** Tokens of a text for the toy model, never 0. */
export function toyTokens(count: number, seed = 1): Int32Array {
  return Int32Array.from(randomArray(count, seed), (value) => 1 + Math.floor(((value + 1) / 2) * (vocabulary - 1)));
}
