import { midpoints, uniformOnGrid } from "@kvquant/codebook";
import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import type { Matrix, QuantizerArtifact } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { channelOfCode } from "../geometry.js";
import { makeMatrix, randomNumbers } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { headPacking } from "./head-packing.js";

const { fround } = Math;
const half = (x: number): number => floatFromHalf(halfFromFloat(x));

interface Tables {
  readonly scale: Float32Array;
  readonly zero: Float32Array;
  readonly low: Float32Array;
  readonly high: Float32Array;
  readonly levels: Float32Array;
  readonly midpoints: Float32Array;
  readonly feedbackOrder: Float32Array;
  readonly feedbackWeights: Float32Array;
}

interface Sizes {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
}

/** Tables by rule, with a range of nothing at channel 3 and ranges that leave many values outside. */
function makeTables({ kvHeads, headDim }: Sizes, bits: 2 | 5, seed: number): Tables {
  const random = randomNumbers(seed);
  const columns = kvHeads * headDim;
  const scale = Float32Array.from({ length: columns }, (_, column) => (column % headDim === 3 ? 0 : half(0.2 + 0.5 * random())));
  const zero = Float32Array.from({ length: columns }, () => half(random() - 0.5));
  const levels = uniformOnGrid(bits);
  return {
    scale,
    zero,
    low: scale.map((width, column) => zero[column]! - width),
    high: scale.map((width, column) => zero[column]! + width),
    levels,
    midpoints: midpoints(levels),
    feedbackOrder: Float32Array.from({ length: columns }, (_, index) => (5 * index + 2) % headDim),
    feedbackWeights: Float32Array.from({ length: (columns * (headDim - 1)) / 2 }, () => half(0.2 * random() - 0.1)),
  };
}

/** What a token of a head decodes to, number by number in fp32, as the codec documents it; and how many values found no slot. */
function byDefinition(x: readonly number[], head: number, { headDim, rotaryDim, kvHeads }: Sizes, tables: Tables, feedback: boolean): { decoded: number[]; saturated: number } {
  const at = (table: Float32Array, channel: number): number => table[head * headDim + channel]!;
  const inverse = (channel: number): number => (at(tables.scale, channel) === 0 ? 0 : fround(1 / at(tables.scale, channel)));
  const normalised = (value: number, channel: number): number => fround(fround(value - at(tables.zero, channel)) * inverse(channel));
  const codes = [...channelOfCode({ kvHeads, headDim, rotaryDim })];
  const outside = codes.filter((channel) => x[channel]! < at(tables.low, channel) || x[channel]! > at(tables.high, channel));
  // In code order, so that a stable sort breaks ties by it.
  const slots = outside.toSorted((a, b) => Math.abs(normalised(x[b]!, b)) - Math.abs(normalised(x[a]!, a))).slice(0, 15);
  const pairs = (headDim * (headDim - 1)) / 2;
  const weight = (j: number, z: number): number => tables.feedbackWeights[head * pairs + j * headDim - (j * (j + 1)) / 2 + z - j - 1]!;
  const errors: number[] = [];
  const decoded: number[] = [];
  for (let rank = 0; rank < headDim; rank++) {
    const channel = feedback ? at(tables.feedbackOrder, rank) : rank;
    let value = x[channel]!;
    if (feedback) errors.forEach((error, source) => (value = fround(value - fround(error * weight(source, rank)))));
    const code = tables.midpoints.filter((midpoint) => midpoint < normalised(value, channel)).length;
    let q = fround(fround(tables.levels[code]! * at(tables.scale, channel)) + at(tables.zero, channel));
    if (slots.includes(channel)) q = fround(q + half(fround(value - q)));
    errors.push(fround(value - q));
    decoded[channel] = q;
  }
  return { decoded, saturated: outside.length - slots.length };
}

describe("the codec of keys", () => {
  const sizes: [Sizes, 2 | 5][] = [
    [{ kvHeads: 2, headDim: 24, rotaryDim: 10 }, 5],
    [{ kvHeads: 1, headDim: 8, rotaryDim: 8 }, 2],
    [{ kvHeads: 3, headDim: 48, rotaryDim: 16 }, 5],
  ];
  for (const [size, bits] of sizes) {
    for (const feedback of [false, true]) {
      it(`decodes to what its arithmetic is documented to be: ${size.kvHeads} x ${size.headDim}, ${bits} bits${feedback ? ", feedback" : ""}`, () => {
        const { kvHeads, headDim } = size;
        const columns = kvHeads * headDim;
        const tables = makeTables(size, bits, headDim);
        const { feedbackOrder, feedbackWeights, ...plain } = tables;
        const artifact: QuantizerArtifact = {
          id: "kvquant/channel-keys",
          bits,
          packing: headPacking("key", bits, headDim).id,
          stages: ["outliers:channel", "normalize:channel", ...(feedback ? ["feedback"] : [])],
          arrays: { geometry: Float32Array.of(kvHeads, headDim, size.rotaryDim), ...plain, ...(feedback && { feedbackOrder, feedbackWeights }) },
        };
        const codec = channelKeys({ bits }).open(artifact);
        const random = randomNumbers(bits);
        for (const tokens of [1, 64, 13]) {
          // Every third token has so many values outside that some find no slot.
          const x: Matrix = makeMatrix(tokens, columns, (row) => (random() + random() - 1) * (row % 3 === 0 ? 3 : 0.8));
          const block = codec.encode(x);
          const out = makeMatrix(tokens, columns, () => Number.NaN);
          codec.decode(block, out);
          let saturated = 0;
          const decoded: number[] = [];
          for (let token = 0; token < tokens; token++) {
            for (let head = 0; head < kvHeads; head++) {
              const start = token * columns + head * headDim;
              const expected = byDefinition([...x.data.subarray(start, start + headDim)], head, size, tables, feedback);
              decoded.push(...expected.decoded);
              saturated += expected.saturated;
            }
          }
          expect(out.data).toEqual(Float32Array.from(decoded));
          expect(block.saturated).toBe(saturated);
          if (headDim === 48) expect(saturated).toBeGreaterThan(0);
        }
      });
    }
  }
});
