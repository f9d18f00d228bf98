import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { goldenPages, goldenPagesText } from "../testing/golden-pages.js";

const file = new URL("../../golden/pages.txt", import.meta.url);

describe("golden pages", () => {
  it("of every quantizer, width and head dim have the bytes, counts and decoded numbers of golden/pages.txt", () => {
    const text = goldenPagesText();
    // A change of this file is a change of the page format: docs/format.md and its version change with it.
    if (process.env.KVQUANT_UPDATE_GOLDEN === "1") writeFileSync(file, text);
    expect(text.split("\n")).toEqual(readFileSync(file, "utf8").split("\n"));
  });

  it("reach what they are there for: saturation, clamping, partial pages, all widths", () => {
    const lines = readFileSync(file, "utf8").split("\n").filter((line) => line.startsWith("page "));
    const counts = lines.map((line) => line.split(" : ")[1]!.split(" ").map(Number));
    expect(lines.length).toBe(goldenPages().length);
    for (const family of ["channel-keys", "token-values"]) expect(lines.some((line, index) => line.includes(family) && counts[index]![4]! > 0)).toBe(true);
    expect(lines.some((line, index) => line.includes("page-keys") && counts[index]![5]! > 0)).toBe(true);
  });
});
