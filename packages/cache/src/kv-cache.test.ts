import { describe, expect, it } from "vitest";

import { createRope } from "@kvquant/rope";
import type { AttentionKernel } from "@kvquant/spec";

import { expectCode, makeCache, other, sequence, shape } from "./fixtures/small-cache.js";
import { feed, maximumDifference } from "./testing/test-sequence.js";
import { float32Codec } from "./testing/index.js";
import { typescriptKernel } from "./typescript-kernel.js";

describe("createKvCache", () => {
  it("refuses options that make no sense, naming them", () => {
    for (const sinkTokens of [-1, 65_537, 2 ** 40]) expectCode(() => makeCache({ sinkTokens }), "INVALID_ARGUMENT", /sinkTokens/);
    expectCode(() => makeCache({ tailTokens: 1.5 }), "INVALID_ARGUMENT", /tailTokens/);
    expectCode(() => makeCache({ layers: ["fp16"] }), "INVALID_ARGUMENT", /layers: expected 2 plans/);
    expectCode(() => makeCache({ layers: ["fp16", {} as never] }), "INVALID_ARGUMENT", /layers\[1\]\.key/);
    expectCode(() => makeCache({ shape: { ...shape, headDim: 12 } }), "INVALID_ARGUMENT", /headDim/);
    expectCode(() => makeCache({ shape: { ...shape, headDim: 16 } }), "INVALID_ARGUMENT", /rope/);
  });

  it("refuses keys encoded after RoPE where the angles change with the length", () => {
    const dynamic = createRope({ headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 64 } });
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "post-rope" as const };
    expectCode(() => makeCache({ rope: dynamic, layers: ["fp16", plan] }), "UNSUPPORTED", /layers\[1\]\.keyFrame.*dynamic/);
  });

  it("names the kernel in use", () => {
    expect(makeCache().backends()).toEqual(["typescript"]);
    expect(makeCache({ kernel: { ...typescriptKernel, id: "mine" } }).backends()).toEqual(["mine"]);
  });
});

describe("layers that attend at the same time", () => {
  it("do not share staging buffers", async () => {
    const slow: AttentionKernel = {
      specVersion: 1,
      id: "slow",
      async attend(block) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        await typescriptKernel.attend(block);
      },
    };
    const together = makeCache({ kernel: slow });
    const [first, second] = await Promise.all([feed(together, sequence, { from: 0, to: 150 }), feed(together, other, { from: 0, to: 150, layer: 1 })]);
    const apart = makeCache();
    expect(maximumDifference(first, await feed(apart, sequence, { from: 0, to: 150 }))).toBe(0);
    expect(maximumDifference(second, await feed(apart, other, { from: 0, to: 150, layer: 1 }))).toBe(0);
  });
});
