import { readFileSync } from "node:fs";
import { defaultText, loadModel } from "@kvquant/model";
import { describe, expect, it } from "vitest";
import type { CalibrationModel } from "./evaluation-model.js";
import { findSinks } from "./find-sinks.js";
import { createToyModel, toyTokens } from "./test-support/toy-model.js";

const length = 200;

/** The toy model, but every query gives `share(position)` of its attention to a position, as much spread as squared. */
function modelWithShares(share: (position: number) => number): CalibrationModel {
  const { model } = createToyModel();
  const { layers, queryHeads, kvHeads } = model.config;
  return {
    ...model,
    async captureAttention(tokens, { onLayer }) {
      const half = Float32Array.from({ length: tokens.length * kvHeads }, (_, index) => {
        const position = Math.floor(index / kvHeads);
        return (share(position) * (tokens.length - position) * queryHeads) / kvHeads / 2;
      });
      for (let layer = 0; layer < layers; layer++) onLayer({ layer, keyWeights: half, valueWeights: half } as Parameters<typeof onLayer>[0]);
      return new Float32Array(0);
    },
  };
}

describe("findSinks", () => {
  it("accounts for all attention of every query: shares times the queries that see them sum to the tokens", async () => {
    await using model = await loadModel("tiny", { engine: "reference" });
    const tokens = model.tokenizer.encode(readFileSync(defaultText("tiny")!, "utf8"), { addSpecial: false });
    const { shares } = await findSinks(model, { tokens, sequences: 2, length });
    const sum = shares.reduce((total, share, position) => total + share * (length - position), 0);
    expect(sum).toBeCloseTo(length, 3);
  });

  it("counts the sinks at the beginning without a gap and names those elsewhere", async () => {
    const tokens = toyTokens(500);
    const planted = new Map([[0, 0.3], [1, 0.06], [7, 0.2], [30, 0.1], [150, 0.9]]);
    const found = await findSinks(modelWithShares((position) => planted.get(position) ?? 0.001), { tokens, sequences: 1, length });
    expect(found.sinkTokens).toBe(2);
    // 150 is within the last 64 positions, which few queries see.
    expect(found.strays.map(({ window, position, token }) => [window, position, token])).toEqual([[0, 7, tokens[7]], [0, 30, tokens[30]]]);
    expect(found.strays[0]!.share).toBeCloseTo(0.2, 6);
    expect((await findSinks(modelWithShares((position) => planted.get(position) ?? 0.001), { tokens, length, minimumShare: 0.25 })).sinkTokens).toBe(1);
    expect((await findSinks(modelWithShares(() => 0.01), { tokens, length })).sinkTokens).toBe(0);
  });

  it("refuses settings that make no sense, and stops when the signal fires", async () => {
    const { model } = createToyModel();
    const tokens = toyTokens(500);
    for (const wrong of [{ length: 127 }, { length: 501 }, { sequences: 0 }, { minimumShare: 0 }, { minimumShare: 1.5 }]) {
      await expect(findSinks(model, { tokens, length, ...wrong })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    await expect(findSinks(model, { tokens, length, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
