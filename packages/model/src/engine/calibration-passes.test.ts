import { afterAll, describe, expect, it } from "vitest";
import type { ModelConfig } from "../config/model-config.js";
import { createRandom } from "../generate/random.js";
import { CalibrationPasses } from "./calibration-passes.js";
import type { LayerAttention, LayerGradients } from "./calibration-passes.js";
import { runTransformer } from "./fixtures/float64-transformer.js";
import { createRandomModelFile, smallConfig } from "./fixtures/random-model-file.js";
import { ReferenceEngine } from "./reference-engine.js";

const disposables: { dispose(): Promise<void> }[] = [];
afterAll(async () => {
  await Promise.all(disposables.map((disposable) => disposable.dispose()));
});

async function createPasses(config: ModelConfig) {
  const file = createRandomModelFile(config, 5);
  const engine = await ReferenceEngine.create(file, { threads: 1 });
  const passes = await CalibrationPasses.create(engine);
  disposables.push(engine, passes);
  return { file, passes };
}

/** Random directions `[tokens][columns]`. */
function createDirection(tokens: number, columns: number, seed: number): Float64Array[] {
  const random = createRandom(seed);
  return Array.from({ length: tokens }, () => Float64Array.from({ length: columns }, () => random() * 2 - 1));
}

const scaled = (direction: readonly Float64Array[], factor: number) => direction.map((row) => row.map((value) => value * factor));

describe("calibration passes", () => {
  const yarn = { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 16 } } as const;
  const cases: [string, ModelConfig][] = [
    ["llama", smallConfig("llama", { layers: 3 })],
    ["qwen2 with biases", smallConfig("qwen2")],
    ["qwen3 with head norms", smallConfig("qwen3")],
    ["llama with YaRN", smallConfig("llama", { rope: yarn })],
  ];
  it.each(cases)("give gradients of keys before RoPE and of values that agree with finite differences for %s", async (_, config) => {
    const { file, passes } = await createPasses(config);
    const tokens = Array.from({ length: 19 }, (_, index) => (index * 11 + 5) % config.vocabulary);
    const columns = config.kvHeads * config.headDim;
    const events: LayerGradients[] = [];
    const copy = (matrix: LayerGradients["k"]) => ({ ...matrix, data: matrix.data.slice() });
    const { loss, scored } = await passes.gradients(tokens, {
      onLayer: (event) => events.push({ ...event, keyGradients: copy(event.keyGradients), valueGradients: copy(event.valueGradients) }),
    });
    expect(scored).toBe(tokens.length - 1);
    expect(loss).toBeCloseTo(runTransformer(file, tokens).loss, 3);
    expect(events.map((event) => event.layer)).toEqual(Array.from({ length: config.layers }, (_, index) => config.layers - 1 - index));
    for (const event of events) {
      for (const side of ["keys", "values"] as const) {
        const direction = createDirection(tokens.length, columns, event.layer + 17);
        const step = 1e-4;
        const up = runTransformer(file, tokens, { layer: event.layer, [side]: scaled(direction, step) }).loss;
        const down = runTransformer(file, tokens, { layer: event.layer, [side]: scaled(direction, -step) }).loss;
        const expected = (up - down) / (2 * step);
        const gradients = side === "keys" ? event.keyGradients : event.valueGradients;
        let along = 0;
        let size = 0;
        for (let token = 0; token < tokens.length; token++) {
          for (let column = 0; column < columns; column++) {
            along += gradients.data[token * columns + column]! * direction[token]![column]!;
            size += gradients.data[token * columns + column]! ** 2;
          }
        }
        expect(Math.abs(along - expected)).toBeLessThan(2e-4 * Math.sqrt(size * columns));
        expect(size).toBeGreaterThan(0);
      }
    }
  });

  it("capture keys, values and column sums that agree with float64 loops", async () => {
    const config = smallConfig("llama", { kvHeads: 1, queryHeads: 1, layers: 1 });
    const { file, passes } = await createPasses(config);
    const tokens = [3, 1, 4, 1, 5];
    let event: LayerAttention | undefined;
    await passes.captureAttention(tokens, { onLayer: (captured) => (event = captured) });
    const expected = runTransformer(file, tokens);
    for (let token = 0; token < tokens.length; token++) {
      for (let column = 0; column < config.headDim; column++) {
        expect(event!.k.data[token * config.headDim + column]!).toBeCloseTo(expected.keys[0]![token]![column]!, 4);
        expect(event!.v.data[token * config.headDim + column]!).toBeCloseTo(expected.values[0]![token]![column]!, 4);
      }
    }
    // Every query's probabilities sum to 1, so both sums together count the queries.
    const total = [...event!.keyWeights].reduce((sum, value) => sum + value, 0) + [...event!.valueWeights].reduce((sum, value) => sum + value, 0);
    expect(total).toBeCloseTo(tokens.length, 4);
    // The last key is seen by one query only; its spread is p - p^2 and its square p^2 of the same p.
    const p = event!.keyWeights[4]! + event!.valueWeights[4]!;
    expect(event!.valueWeights[4]!).toBeCloseTo(p * p, 4);
  });
});
