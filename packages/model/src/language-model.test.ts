import { afterEach, expect, test, vi } from "vitest";

import { CalibrationPasses } from "./engine/calibration-passes.js";
import { loadModel } from "./load-model.js";

afterEach(() => vi.restoreAllMocks());

const TOKENS = [1, 2, 3, 4];
const onLayer = (): void => {};

test("calibration passes asked for at once are made once, and disposed with the model", async () => {
  const create = vi.spyOn(CalibrationPasses, "create");
  const dispose = vi.spyOn(CalibrationPasses.prototype, "dispose");
  const model = await loadModel("tiny", { threads: 1 });
  const hidden = await Promise.all([model.captureAttention(TOKENS, { onLayer }), model.captureAttention(TOKENS, { onLayer })]);
  expect(hidden[0]).toEqual(hidden[1]);
  expect(create).toHaveBeenCalledTimes(1);
  await model.dispose();
  expect(dispose).toHaveBeenCalledTimes(1);
});

test("calibration passes still being made when the model is disposed are disposed too", async () => {
  const dispose = vi.spyOn(CalibrationPasses.prototype, "dispose");
  const model = await loadModel("tiny", { threads: 1 });
  const pass = model.captureAttention(TOKENS, { onLayer }).catch(() => undefined);
  await model.dispose();
  await pass;
  expect(dispose).toHaveBeenCalledTimes(1);
});

test("passes that could not be made are made at the next call", async () => {
  vi.spyOn(CalibrationPasses, "create").mockRejectedValueOnce(new Error("no memory"));
  await using model = await loadModel("tiny", { threads: 1 });
  await expect(model.captureAttention(TOKENS, { onLayer })).rejects.toThrow("no memory");
  await expect(model.captureAttention(TOKENS, { onLayer })).resolves.toBeInstanceOf(Float32Array);
});

test("sequences run at once on the reference engine do not see each other", async () => {
  await using model = await loadModel("tiny", { threads: 1, engine: "reference" });
  const run = async (tokens: readonly number[]): Promise<Float32Array> => {
    using cache = model.createCache({ artifact: "fp16" });
    await model.forward(tokens.slice(0, -1), cache);
    return await model.forward(tokens.slice(-1), cache);
  };
  const sequences = [1, 2, 3].map((seed) => Array.from({ length: 40 }, (_, index) => (index * 7 * seed + seed) % 200));
  const alone: Float32Array[] = [];
  for (const tokens of sequences) alone.push(await run(tokens));
  expect(await Promise.all(sequences.map(run))).toEqual(alone);
});
