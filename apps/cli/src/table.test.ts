import { describe, expect, it } from "vitest";
import { formatTable } from "./table.js";

describe("formatTable", () => {
  it("aligns names to the left and numbers to the right, as wide as the widest cell", () => {
    const columns = [
      { title: "cache", align: "left" },
      { title: "bits", align: "right" },
    ] as const;
    const expected = ["cache    bits", "-------  ----", "fp16       16", "nuq3-1%  3.41", ""].join("\n");
    expect(formatTable(columns, [["fp16", "16"], ["nuq3-1%", "3.41"]])).toBe(expected);
  });

  it("prints titles alone when there are no rows", () => {
    expect(formatTable([{ title: "a", align: "left" }], [])).toBe("a\n-\n");
  });
});
