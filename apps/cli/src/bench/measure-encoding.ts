/** What it costs to encode a page, on one thread. */

import { explainNativeCodec, openNativeCodec } from "@kvquant/cpu";
import type { Quantizer } from "@kvquant/quant";
import { makePage } from "@kvquant/quant/testing";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, Matrix, QuantizerArtifact } from "@kvquant/spec";
import { setImmediate } from "node:timers/promises";
import { median } from "./median.js";
import type { PresetChoice } from "./parse-presets.js";
import { fitReferenceLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import type { LayerSize } from "./synthetic-layer.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** Microseconds on one thread for each token and layer, over all KV heads: a page's time divided by its 64 tokens. */
export interface EncodingRow extends LayerSize {
  readonly cache: string;
  /** What encodes: `native` where there are kernels for both sides, else the codecs in TypeScript. */
  readonly code: "native" | "typescript";
  readonly keyMicroseconds: number;
  readonly valueMicroseconds: number;
  readonly microsecondsPerToken: number;
}

/** How much is timed. */
export interface EncodingMeasurement {
  readonly presets: readonly Extract<PresetChoice, { readonly kind: "preset" }>[];
  /** The user's quantizers among them. */
  readonly quantizers: readonly Quantizer[];
  /** Timings of each side, of which the median counts. */
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** Told before each preset. */
  readonly onPreset?: (preset: string) => void;
}

/** Different pages in turn, so that branches are not learned by heart. */
const pages = 16;

/**
 * Encodes pages of keys and of values with presets fitted to synthetic statistics.
 * @throws CANCELLED
 */
export async function measureEncoding(size: LayerSize, { presets, quantizers, rounds, signal, onPreset }: EncodingMeasurement): Promise<EncodingRow[]> {
  const statistics = makeSyntheticStatistics(size);
  const inputs = Array.from({ length: pages }, (_, page) => makePage({ layers: 1, queryHeads: size.kvHeads, ...size }, PAGE_TOKENS, 500 + page));
  const time = async (encode: (page: number) => unknown): Promise<number> => {
    const times: number[] = [];
    for (let round = 0; round <= rounds; round++) {
      // Encoding is synchronous: only between two rounds can an interrupt be heard.
      await setImmediate();
      throwIfAborted(signal);
      const start = performance.now();
      for (let page = 0; page < pages; page++) encode(page);
      times.push(((performance.now() - start) * 1000) / (pages * PAGE_TOKENS));
    }
    return median(times.slice(1));
  };
  const rows: EncodingRow[] = [];
  for (const { name, preset } of presets) {
    onPreset?.(name);
    const { artifact, reference } = fitReferenceLayer(preset, statistics, quantizers);
    const { key, value } = artifact.layers[0]!;
    const code = [key, value].every((fitted) => explainNativeCodec(fitted) === undefined) ? "native" : "typescript";
    const encodeKeys = encoderOf(code, key, reference.key);
    const encodeValues = encoderOf(code, value, reference.value);
    const keyMicroseconds = await time((page) => encodeKeys(inputs[page]!.k));
    const valueMicroseconds = await time((page) => encodeValues(inputs[page]!.v));
    rows.push({ ...size, cache: name, code, keyMicroseconds, valueMicroseconds, microsecondsPerToken: keyMicroseconds + valueMicroseconds });
  }
  return rows;
}

/** Of native codecs the addon itself: beside it, checking the input in JavaScript costs as much as a cheap preset. */
function encoderOf(code: EncodingRow["code"], artifact: QuantizerArtifact, codec: BlockCodec): (x: Matrix) => unknown {
  if (code === "typescript") return (x) => codec.encode(x);
  const { handle } = openNativeCodec(artifact);
  return (x) => handle.encode(x.data, PAGE_TOKENS);
}
