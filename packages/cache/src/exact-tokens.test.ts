import { describe, expect, it } from "vitest";

import { encodeHalf } from "@kvquant/packing";

import { createExactTokens } from "./exact-tokens.js";
import type { ExactTokens } from "./exact-tokens.js";

const cols = 3;

/** Rows whose numbers are row * 4 + channel + base; values are the negated keys. */
function append(tokens: ExactTokens, count: number, base = 0): void {
  const start = tokens.tokens;
  const keys = Float32Array.from({ length: (count + 2) * cols }, (_, i) => base + (start + Math.floor(i / cols) - 2) * 4 + (i % cols));
  tokens.append(encodeHalf(keys), encodeHalf(keys.map((x) => -x)), { from: 2, count });
}

function readAll(tokens: ExactTokens, chunk: number): number[] {
  const rows: number[] = [];
  for (let first = 0; first < tokens.tokens; first += chunk) {
    const count = Math.min(chunk, tokens.tokens - first);
    const key = new Float32Array(count * cols);
    const value = new Float32Array(count * cols);
    tokens.read("key", { first, count }, key);
    tokens.read("value", { first, count }, value);
    for (let i = 0; i < key.length; i++) expect(value[i]).toBe(-key[i]!);
    for (let row = 0; row < count; row++) rows.push(key[row * cols]!);
  }
  return rows;
}

const upTo = (count: number, base = 0): number[] => Array.from({ length: count }, (_, i) => base + i * 4);

describe("createExactTokens", () => {
  it("keeps rows in order over chunk borders, whatever the sizes of appends", () => {
    for (const sizes of [[1], [4], [5], [3, 5, 9], [1, 1, 1, 1, 1], [17]]) {
      const tokens = createExactTokens(cols, 4);
      for (const size of sizes) append(tokens, size);
      const total = sizes.reduce((a, b) => a + b);
      expect(tokens.tokens).toBe(total);
      expect(readAll(tokens, 4)).toEqual(upTo(total));
    }
  });

  it("allocates whole chunks and gives them back when they are dropped or cut off", () => {
    const tokens = createExactTokens(cols, 4);
    const chunkBytes = 4 * cols * 2 * 2;
    append(tokens, 9);
    expect(tokens.byteLength).toBe(3 * chunkBytes);
    tokens.dropChunks(1);
    expect(readAll(tokens, 4)).toEqual(upTo(9).slice(4));
    expect(tokens.byteLength).toBe(2 * chunkBytes);
    tokens.truncate(4);
    expect(tokens.byteLength).toBe(chunkBytes);
    tokens.truncate(0);
    expect(tokens.byteLength).toBe(0);
  });

  it("isolates forks from each other's appends and truncations, in full and partial chunks", () => {
    for (const before of [3, 4, 6, 8]) {
      for (const cut of [1, 2, 3, 4, 5].filter((count) => count <= before)) {
        const tokens = createExactTokens(cols, 4);
        append(tokens, before);
        const fork = tokens.fork();
        fork.truncate(cut);
        append(fork, 5, 1000);
        append(tokens, 3);
        expect(readAll(tokens, 4)).toEqual(upTo(before + 3));
        expect(readAll(fork, 4)).toEqual([...upTo(cut), ...upTo(cut + 5, 1000).slice(cut)]);
      }
    }
  });
});
