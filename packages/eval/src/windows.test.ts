import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprintTokens } from "./fingerprint-tokens.js";
import { cutWindows } from "./windows.js";

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 10);

describe("cutWindows", () => {
  it("cuts neighbouring windows without overlap and drops the rest", () => {
    expect(cutWindows(numbers(10), { length: 4 }).map((window) => [...window])).toEqual([[10, 11, 12, 13], [14, 15, 16, 17]]);
  });

  it("puts the beginning-of-text token first in every window and counts it", () => {
    const expected = [[1, 10, 11, 12], [1, 13, 14, 15], [1, 16, 17, 18]];
    expect(cutWindows(numbers(10), { length: 4, bos: 1 }).map((window) => [...window])).toEqual(expected);
    expect(cutWindows([1, ...numbers(10)], { length: 4, bos: 1 }).map((window) => [...window])).toEqual(expected);
  });

  it("takes at most the number asked for", () => {
    expect(cutWindows(numbers(100), { length: 4, count: 3 })).toHaveLength(3);
    expect(cutWindows(numbers(9), { length: 4, count: 3 })).toHaveLength(2);
  });

  it("refuses a text shorter than a window, with both counts", () => {
    expect(() => cutWindows(numbers(3), { length: 4 })).toThrow(/at least 4 tokens.*got 3/);
    expect(() => cutWindows([], { length: 4 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => cutWindows([1, 10, 11], { length: 4, bos: 1 })).toThrow(/at least 3 tokens after the beginning-of-text token.*got 2/);
    expect(cutWindows([10, 11, 12], { length: 4, bos: 1 })).toHaveLength(1);
    expect(() => cutWindows(numbers(3), { length: 1 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("keeps the text's tokens in order, each at most once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.integer({ min: 9, max: 60 }), fc.boolean(), (length, size, withBos) => {
        const windows = cutWindows(numbers(size), { length, bos: withBos ? 1 : undefined });
        const joined = windows.flatMap((window) => [...window].slice(withBos ? 1 : 0));
        expect(joined).toEqual(numbers(size).slice(0, joined.length));
        expect(size - joined.length).toBeLessThan(length);
      }),
    );
  });
});

describe("fingerprintTokens", () => {
  it("tells apart texts that differ in a token or in where windows end", () => {
    const all = [[[1, 2, 3, 4]], [[1, 2], [3, 4]], [[1, 2, 3, 5]], [[1, 2, 3]]];
    const prints = all.map((windows) => fingerprintTokens(windows.map((window) => Int32Array.from(window))));
    expect(new Set(prints).size).toBe(all.length);
  });

  it("is the published SHA-256 of the bytes it names", () => {
    // One window of no tokens: eight bytes 01 00 00 00 00 00 00 00, from sha256sum.
    expect(fingerprintTokens([new Int32Array(0)])).toBe("7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8");
  });
});
