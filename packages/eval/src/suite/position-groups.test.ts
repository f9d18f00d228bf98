import { describe, expect, it } from "vitest";
import { paretoFront } from "./pareto-front.js";
import { DISTANCE_RANGES, findRange, lastSeenDistances, positionRanges } from "./position-groups.js";

describe("positionRanges", () => {
  it("doubles from 64 and covers each position once", () => {
    expect(positionRanges(300)).toEqual([{ from: 0, to: 64 }, { from: 64, to: 128 }, { from: 128, to: 256 }, { from: 256, to: 300 }]);
    expect(positionRanges(10)).toEqual([{ from: 0, to: 10 }]);
    for (let position = 0; position < 300; position++) expect(positionRanges(300).filter(({ from, to }) => position >= from && position < to!)).toHaveLength(1);
  });
});

describe("lastSeenDistances", () => {
  it("counts from the next token back to its last place", () => {
    // a b a a c b: the second a was last seen 2 back, the third 1 back, c is new, the second b 4 back.
    expect([...lastSeenDistances(Int32Array.of(7, 8, 7, 7, 9, 8))]).toEqual([0, 2, 1, 0, 4]);
  });

  it("has a group for every distance but 0", () => {
    expect([1, 16, 17, 64, 65, 256, 257, 1024, 1025, 1e6].map((distance) => findRange(DISTANCE_RANGES, distance))).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    expect(findRange(DISTANCE_RANGES, 0)).toBeUndefined();
  });
});

describe("paretoFront", () => {
  it("keeps what no row of the same tail beats in both, and leaves fp16 out", () => {
    const row = (cache: string, tail: number | undefined, bitsPerValue: number | undefined, kldMean: number) => ({ cache, tail, bitsPerValue, kldMean });
    const rows = [row("fp16", undefined, 16, 0), row("a", 0, 3, 0.1), row("b", 0, 3, 0.2), row("c", 0, 4, 0.05), row("d", 0, 3.5, 0.1), row("e", 0, 2, 0.4), row("c", 64, 4, 0.5), row("f", 0, undefined, 0)];
    expect(paretoFront(rows).map(({ cache, tail }) => `${cache} ${tail}`)).toEqual(["e 0", "a 0", "c 0", "c 64"]);
  });
});
