/** Conformance suite for attention kernels. */

import type { AttentionBlock, AttentionKernel } from "@kvquant/spec";

import { normalNumbers, seededRandom } from "./random.js";
import { plainFloat32Attention, referenceAttention } from "./reference-attention.js";

/** One check; `run` throws an Error that says what differs. Works with any test runner. */
export interface ConformanceCase {
  readonly title: string;
  run(kernel: AttentionKernel): Promise<void>;
}

type Sizes = Pick<AttentionBlock, "group" | "queries" | "keys" | "headDim">;

/** `[group, queries, keys, headDim]`: decode and prefill, one key, lane edges, page boundaries, a prime, every group size models have. */
const sizes: readonly (readonly [number, number, number, number])[] = [
  [1, 1, 1, 8], [1, 1, 2, 16], [3, 1, 1, 64], [4, 2, 2, 64],
  [1, 1, 63, 64], [3, 1, 64, 64], [4, 1, 65, 64], [1, 64, 64, 64], [3, 63, 63, 64], [3, 64, 128, 64], [4, 65, 129, 64],
  [1, 31, 97, 80], [3, 5, 97, 80], [4, 7, 33, 128], [7, 3, 67, 96], [2, 17, 17, 256], [1, 1, 1031, 64], [3, 256, 301, 16],
];

/**
 * The cases. Outputs start as NaN, operands are not touched, and the tolerance is that of reductions: at most twice the error of plain
 * float32 arithmetic against float64, plus 8 units in the last place of the largest value.
 */
export function attentionKernelCases(): readonly ConformanceCase[] {
  const differential = sizes.map(([group, queries, keys, headDim], index) => differentialCase({ group, queries, keys, headDim }, index));
  return [...differential, ...[1, 3, 4].map(causalCase), uniformCase(), largeScoresCase(), operandsCase()];
}

function differentialCase(size: Sizes, seed: number): ConformanceCase {
  return {
    title: `agrees with float64 for ${describeSizes(size)}`,
    run: (kernel) => compare(kernel, randomBlock(size, seed)),
  };
}

function causalCase(group: number): ConformanceCase {
  const size = { group, queries: 70, keys: 133, headDim: 16 };
  return {
    title: `lets each of ${group} grouped heads see its own token and none after it`,
    async run(kernel) {
      // The score of key t grows with t so steeply that each query returns the value of its newest visible key.
      const block = randomBlock(size, 100 + group);
      block.q.fill(0);
      block.k.fill(0);
      for (let row = 0; row < group * size.queries; row++) block.q[row * size.headDim] = 64;
      for (let key = 0; key < size.keys; key++) {
        block.k[key * size.headDim] = key;
        for (let d = 0; d < size.headDim; d++) block.v[key * size.headDim + d] = key + d / 16;
      }
      const out = await attendPoisoned(kernel, block);
      for (let row = 0; row < group * size.queries; row++) {
        const newest = size.keys - size.queries + (row % size.queries);
        for (let d = 0; d < size.headDim; d++) {
          const got = out[row * size.headDim + d]!;
          if (!(Math.abs(got - newest - d / 16) < 1e-3)) fail(kernel, `row ${row}, channel ${d}: expected the value of key ${newest}, ${newest + d / 16}, got ${got}`);
        }
      }
    },
  };
}

function uniformCase(): ConformanceCase {
  const size = { group: 3, queries: 2, keys: 129, headDim: 64 };
  return {
    title: "averages the values when all keys are equal",
    run(kernel) {
      const block = randomBlock(size, 200);
      block.k.fill(0.5);
      return compare(kernel, block);
    },
  };
}

function largeScoresCase(): ConformanceCase {
  const size = { group: 4, queries: 3, keys: 67, headDim: 64 };
  return {
    title: "stays finite for scores of +-10,000, and for zeros of either sign",
    async run(kernel) {
      for (const sign of [1, -1, -0]) {
        const block = randomBlock(size, 300);
        for (let i = 0; i < block.q.length; i++) block.q[i] = sign * 100;
        for (let i = 0; i < block.k.length; i++) block.k[i] = 12 + Math.round(block.k[i]!) / 1024;
        await compare(kernel, block);
      }
    },
  };
}

function operandsCase(): ConformanceCase {
  const size = { group: 3, queries: 5, keys: 70, headDim: 80 };
  return {
    title: "leaves its operands as they were, gives the same result twice, and works on views into larger buffers",
    async run(kernel) {
      const block = randomBlock(size, 400);
      const views = { q: asView(block.q), k: asView(block.k), v: asView(block.v) };
      const first = await attendPoisoned(kernel, { ...block, ...views });
      for (const name of ["q", "k", "v"] as const) {
        if (!views[name].every((x, i) => Object.is(x, block[name][i]))) fail(kernel, `${name} was changed`);
      }
      const second = await attendPoisoned(kernel, { ...block, ...views });
      if (!first.every((x, i) => Object.is(x, second[i]))) fail(kernel, "a second call gave another result");
      await compare(kernel, { ...block, ...views });
    },
  };
}

function describeSizes({ group, queries, keys, headDim }: Sizes): string {
  return `${queries} queries, ${keys} keys, group ${group}, head dim ${headDim}`;
}

function randomBlock(size: Sizes, seed: number): AttentionBlock {
  const random = seededRandom(seed);
  const q = normalNumbers(size.group * size.queries * size.headDim, random);
  const k = normalNumbers(size.keys * size.headDim, random);
  const v = normalNumbers(size.keys * size.headDim, random);
  return { ...size, q, k, v, scale: 1 / Math.sqrt(size.headDim), out: new Float32Array(q.length) };
}

/** The same numbers in the middle of a buffer of NaN. */
function asView(x: Float32Array): Float32Array {
  const buffer = new Float32Array(x.length + 6).fill(NaN);
  buffer.set(x, 3);
  return buffer.subarray(3, 3 + x.length);
}

async function attendPoisoned(kernel: AttentionKernel, block: AttentionBlock): Promise<Float32Array> {
  const out = new Float32Array(block.q.length).fill(NaN);
  await kernel.attend({ ...block, out });
  return out;
}

async function compare(kernel: AttentionKernel, block: AttentionBlock): Promise<void> {
  const out = await attendPoisoned(kernel, block);
  const expected = referenceAttention(block);
  const plain = plainFloat32Attention(block);
  let plainError = 0;
  for (let i = 0; i < plain.length; i++) plainError = Math.max(plainError, Math.abs(plain[i]! - expected[i]!));
  const largest = block.v.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
  const tolerance = 2 * plainError + 8 * 2 ** -23 * largest;
  for (let i = 0; i < out.length; i++) {
    const error = Math.abs(out[i]! - expected[i]!);
    if (!(error <= tolerance)) {
      fail(kernel, `${describeSizes(block)}: row ${Math.floor(i / block.headDim)}, channel ${i % block.headDim}: expected ${expected[i]} within ${tolerance}, got ${out[i]}`);
    }
  }
}

function fail(kernel: AttentionKernel, what: string): never {
  throw new Error(`attention kernel ${kernel.id}: ${what}`);
}
