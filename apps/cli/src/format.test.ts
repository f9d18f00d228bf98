import { describe, expect, it } from "vitest";
import { formatBytes, formatChange, formatSeconds, formatShare, formatSmall } from "./format.js";

describe("formats for people", () => {
  it.each([[0, "0 B"], [1023, "1023 B"], [1024, "1.0 KiB"], [188_743_680, "180.0 MiB"], [3 * 1024 ** 3, "3.0 GiB"]])("writes %d bytes as %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([[0.04, "0.0 s"], [59.94, "59.9 s"], [59.96, "1 min 00 s"], [125.2, "2 min 05 s"], [3599.6, "60 min 00 s"]])("writes %d seconds as %s", (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  it("writes divergences, changes and shares", () => {
    expect([formatSmall(0), formatSmall(0.07124), formatSmall(0.0000312)]).toEqual(["0", "0.0712", "3.1e-5"]);
    expect([formatChange(1.6204), formatChange(-0.002), formatChange(0)]).toEqual(["+1.620", "-0.002", "+0.000"]);
    expect(formatShare(0.9134)).toBe("91.3%");
  });
});
