/** What it costs to encode a page, on one thread. */

import { makePage } from "@kvquant/quant/testing";
import { PAGE_TOKENS } from "@kvquant/spec";
import { median } from "./median.js";
import { fitSyntheticLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import type { LayerSize } from "./synthetic-layer.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** Microseconds on one thread for each token and layer, over all KV heads: a page's time divided by its 64 tokens. */
export interface EncodingRow extends LayerSize {
  readonly cache: string;
  readonly keyMicroseconds: number;
  readonly valueMicroseconds: number;
  readonly microsecondsPerToken: number;
}

/** How much is timed. */
export interface EncodingMeasurement {
  readonly presets: readonly string[];
  /** Timings of each side, of which the median counts. */
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** Told before each preset. */
  readonly onPreset?: (preset: string) => void;
}

/** Different pages in turn, so that branches are not learned by heart. */
const pages = 16;

/** Encodes pages of keys and of values with presets fitted to synthetic statistics. */
export function measureEncoding(size: LayerSize, { presets, rounds, signal, onPreset }: EncodingMeasurement): EncodingRow[] {
  const statistics = makeSyntheticStatistics(size);
  const inputs = Array.from({ length: pages }, (_, page) => makePage({ layers: 1, queryHeads: size.kvHeads, ...size }, PAGE_TOKENS, 500 + page));
  const time = (encode: (page: number) => unknown): number => {
    const times = Array.from({ length: rounds + 1 }, () => {
      throwIfAborted(signal);
      const start = performance.now();
      for (let page = 0; page < pages; page++) encode(page);
      return ((performance.now() - start) * 1000) / (pages * PAGE_TOKENS);
    });
    return median(times.slice(1));
  };
  return presets.map((preset) => {
    onPreset?.(preset);
    // The addon itself: beside it, checking the input in JavaScript costs as much as a cheap preset.
    const { key, value } = fitSyntheticLayer(preset, statistics).plan;
    const keyMicroseconds = time((page) => key.handle.encode(inputs[page]!.k.data, PAGE_TOKENS));
    const valueMicroseconds = time((page) => value.handle.encode(inputs[page]!.v.data, PAGE_TOKENS));
    return { ...size, cache: preset, keyMicroseconds, valueMicroseconds, microsecondsPerToken: keyMicroseconds + valueMicroseconds };
  });
}
