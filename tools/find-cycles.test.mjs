import { describe, expect, it } from "vitest";
import { findCycles } from "./find-cycles.mjs";

/** @param {Record<string, string[]>} edges */
const graph = (edges) => new Map(Object.entries(edges));

describe("findCycles", () => {
  it("finds none in a diamond", () => {
    expect(findCycles(graph({ a: ["b", "c"], b: ["d"], c: ["d"], d: [] }))).toEqual([]);
  });

  it("finds a node that points to itself", () => {
    expect(findCycles(graph({ a: ["b"], b: ["b"] }))).toEqual([["b", "b"]]);
  });

  it("reports each of two separate cycles once", () => {
    const cycles = findCycles(graph({ a: ["b"], b: ["a", "c"], c: ["d"], d: ["e"], e: ["c"] }));
    expect(cycles.map((cycle) => new Set(cycle))).toEqual([new Set(["c", "d", "e"]), new Set(["a", "b"])]);
    for (const cycle of cycles) expect(cycle.at(-1)).toBe(cycle[0]);
  });

  it("ignores edges to nodes it does not know", () => {
    expect(findCycles(graph({ a: ["elsewhere"] }))).toEqual([]);
  });
});
