import { KvquantError } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { checkQuantizer, guardQuantizer, integer } from "./index.js";
import type { Quantizer } from "./index.js";
import { assertLaws, makePage, makeStatistics } from "./testing/index.js";

const shape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 32 };
const statistics = makeStatistics({ shape, sensitivity: "none", windows: 1, tokens: 200 }).layers[0]!;
const page = makePage(shape).v;
const good: Quantizer = { ...integer({ side: "value", bits: 8, axis: "token" }) };

describe("checking a quantizer", () => {
  it("lets one through as it is", () => {
    expect(checkQuantizer("test", good)).toBe(good);
  });

  it.each<[string, unknown, string, RegExp]>([
    ["nothing", undefined, "INVALID_ARGUMENT", /expected a quantizer.*got undefined/],
    ["no version", { ...good, specVersion: undefined }, "INVALID_ARGUMENT", /specVersion: expected 1, got undefined/],
    ["a newer version", { ...good, specVersion: 2 }, "UNSUPPORTED", /specVersion: expected 1.*got 2/],
    ["an id with a comma", { ...good, id: "my/a,b" }, "INVALID_ARGUMENT", /id: expected a name space and a name/],
    ["another side", { ...good, side: "query" }, "INVALID_ARGUMENT", /side: expected key or value, got query/],
    ["another frame", { ...good, frame: "rope" }, "INVALID_ARGUMENT", /frame: expected pre-rope or post-rope/],
    ["no open", { ...good, open: 3 }, "INVALID_ARGUMENT", /open: expected a function, got number/],
  ])("refuses %s", (_what, given, code, message) => {
    expect(() => checkQuantizer("test", given)).toThrowError(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
  });
});

describe("a guarded quantizer", () => {
  it("is the quantizer it guards", () => {
    assertLaws({ quantizer: guardQuantizer(good), statistics, page });
  });

  it("passes KvquantErrors on, and names itself and the step in others", () => {
    const own = new KvquantError("UNSUPPORTED", "not on Sundays");
    const failing = (error: Error): Quantizer => guardQuantizer({ ...good, fit: () => { throw error; } });
    expect(() => failing(own).fit(statistics)).toThrow(own);
    expect(() => failing(new RangeError("oh")).fit(statistics)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^baseline\/integer-values: fit: expected a result, got RangeError: oh/) as string }));
  });

  it.each<[string, Partial<ReturnType<Quantizer["fit"]>>, RegExp]>([
    ["another id", { id: "my/other" }, /fit: id: expected baseline\/integer-values, got my\/other/],
    ["bits that no artifact has", { bits: 6 as 5 }, /fit: bits: expected one of 1, 2, 3, 4, 5, 8, got 6/],
    ["doubles", { arrays: { levels: new Float64Array(2) as unknown as Float32Array } }, /array levels: expected a Float32Array, got \[object Float64Array\]/],
    ["stages that are no list", { stages: "hadamard" as unknown as string[] }, /stages: expected a list of strings/],
  ])("refuses to fit %s", (_what, change, message) => {
    expect(() => guardQuantizer({ ...good, fit: (layer) => ({ ...good.fit(layer), ...change }) }).fit(statistics)).toThrow(message);
  });

  it("refuses codecs and blocks that are none", () => {
    const artifact = good.fit(statistics);
    expect(() => guardQuantizer({ ...good, open: () => ({}) as never }).open(artifact)).toThrow(/a codec with encode and decode/);
    const short = guardQuantizer({ ...good, open: (fitted) => ({ ...good.open(fitted), encode: () => ({ tokens: 1, bytes: new Uint8Array(4), saturated: 0, clamped: 0 }) }) });
    expect(() => short.open(artifact).encode(page)).toThrow(/encode: expected a block of 64 tokens with its bytes in a Uint8Array, got 1/);
    for (const [count, message] of [[undefined, /encode: clamped: expected an integer of at least 0, got undefined/], [-1, /clamped.*got -1/], [0.5, /clamped.*got 0\.5/]] as const) {
      const uncounted = guardQuantizer({ ...good, open: (fitted) => ({ ...good.open(fitted), encode: (x) => ({ ...good.open(fitted).encode(x), clamped: count as number }) }) });
      expect(() => uncounted.open(artifact).encode(page)).toThrow(message);
    }
  });
});
