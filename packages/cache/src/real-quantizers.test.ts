import { beforeAll, describe, expect, it } from "vitest";

import { createStatisticsCollector, fitArtifact, openArtifact, parsePreset } from "@kvquant/quant";
import type { CalibrationStatistics } from "@kvquant/quant";
import { createRope } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, CacheShape, EncodedBlock } from "@kvquant/spec";

import { createKvCache } from "./kv-cache.js";
import type { LayerPlan } from "./layer-plan.js";
import { feed, feedInChunks, maximumDifference, randomSequence, rowsOf } from "./testing/test-sequence.js";
import { normalNumbers, seededRandom } from "./testing/index.js";

const shape: CacheShape = { layers: 1, queryHeads: 6, kvHeads: 3, headDim: 64 };
const cols = 192;
const ropeConfig = { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } } as const;
const rope = createRope(ropeConfig);
const sequence = randomSequence(shape, 200, 5);
let statistics: CalibrationStatistics;

beforeAll(() => {
  const text = randomSequence(shape, 512, 6);
  const collector = createStatisticsCollector({ shape, rope: ropeConfig, sinkTokens: 1, sensitivity: "fisher" });
  const gradients = normalNumbers(512 * cols, seededRandom(7));
  const gradient = { data: gradients, rows: 512, cols };
  collector.add(0, { k: rowsOf(text.k, cols, 0, 512), v: rowsOf(text.v, cols, 0, 512), keyGradients: gradient, valueGradients: gradient });
  statistics = collector.finish();
});

function planOf(preset: string): LayerPlan {
  const model = { fingerprint: "random", name: "random", architecture: "none" };
  const calibration = { textFingerprint: "random", sequences: 1, length: 512, tokens: 512, sensitivity: "fisher", method: "test", methodVersion: 1 } as const;
  return openArtifact(fitArtifact(parsePreset(preset), statistics, { model, calibration }))[0]!;
}

/** Squared error of the cache's results over the squares of an fp16 cache's. */
async function relativeError(preset: string): Promise<number> {
  const exact = await feed(createKvCache({ shape, rope, layers: "fp16" }), sequence, { from: 0, to: 200 });
  const out = await feed(createKvCache({ shape, rope, layers: [planOf(preset)], quantizeOpenPage: true }), sequence, { from: 0, to: 200 });
  let error = 0;
  let power = 0;
  for (let i = 0; i < out.length; i++) {
    error += (out[i]! - exact[i]!) ** 2;
    power += exact[i]! ** 2;
  }
  return error / power;
}

describe("with the quantizers of @kvquant/quant", () => {
  for (const preset of ["nuq3-1%", "kvq3", "kvq2", "keys-channel-post"]) {
    it(`${preset} gives the same result in chunks as in one pass`, async () => {
      const plan = planOf(preset);
      const whole = await feedInChunks(createKvCache({ shape, rope, layers: [plan], tailTokens: 2 }), sequence, [200]);
      const chunks = await feedInChunks(createKvCache({ shape, rope, layers: [plan], tailTokens: 2 }), sequence, [100, 1, 33, 40, 1]);
      expect(maximumDifference(chunks, whole)).toBeLessThan(1e-6);
      const exact = await feedInChunks(createKvCache({ shape, rope, layers: "fp16" }), sequence, [200]);
      expect(maximumDifference(whole, exact)).toBeGreaterThan(1e-3);
    });
  }

  // Limits of bits: codes plus scales, zero points, outliers and per-token data for 3 KV heads of 64.
  for (const [family, limits] of [["kvq", [4.18, 3.18, 2.18]], ["nuq", [4.1, 3.1, 2.1]]] as const) {
    it(`${family} costs the bits it promises and errs more with fewer of them`, async () => {
      const errors: number[] = [];
      for (const [index, bits] of [4, 3, 2].entries()) {
        const cache = createKvCache({ shape, rope, layers: [planOf(`${family}${bits}`)], tailTokens: 2 });
        await feed(cache, sequence, { from: 0, to: 200 });
        expect(cache.bitsPerValue()?.mean).toBeGreaterThan(bits);
        expect(cache.bitsPerValue()?.mean).toBeLessThanOrEqual(limits[index]!);
        errors.push(await relativeError(`${family}${bits}`));
      }
      expect(errors[0]).toBeLessThan(0.05);
      expect(errors[1]).toBeGreaterThan(2 * errors[0]!);
      expect(errors[2]).toBeGreaterThan(2 * errors[1]!);
      expect(errors[2]).toBeLessThan(1);
    });
  }

  it("a corrupted byte in a page changes the output or is refused", async () => {
    for (const preset of ["nuq3-1%", "kvq3"]) {
      const plan = planOf(preset);
      for (const side of ["key", "value"] as const) {
        const blocks: EncodedBlock[] = [];
        const codec: BlockCodec = {
          encode: (x) => {
            const block = plan[side].encode(x);
            blocks.push(block);
            return block;
          },
          decode: (block, out) => plan[side].decode(block, out),
        };
        const cache = createKvCache({ shape, rope, layers: [{ ...plan, [side]: codec }], tailTokens: 2 });
        await feed(cache, sequence, { from: 0, to: 190 });
        const fork = cache.fork();
        const clean = await feed(cache, sequence, { from: 190, to: 191 });
        const { bytes } = blocks[0]!;
        bytes[100] = bytes[100]! ^ 0xff;
        const difference = await feed(fork, sequence, { from: 190, to: 191 }).then(
          (out) => maximumDifference(out, clean),
          (error: unknown) => (KvquantError.isInstance(error) && error.code === "CORRUPT_DATA" ? Infinity : 0),
        );
        expect(difference).toBeGreaterThan(1e-6);
      }
    }
  });
});
