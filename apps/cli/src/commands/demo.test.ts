import { expect, it } from "vitest";
import type { DemoReport } from "../demo/run-demo.js";
import { runText } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

useCacheFolder();

it("the demo falls back to the embedded model aloud, and its rows order as their bits do", { timeout: 300_000 }, async () => {
  const { code, stdout, stderr } = await runText(["demo", "--offline", "--jobs", "1", "--json"]);
  expect(code).toBe(0);
  expect(stderr).toContain("using the embedded model tiny instead");

  const report = JSON.parse(stdout) as DemoReport;
  expect(report.model).toBe("tiny");
  const [exact, four, three, two, page] = report.rows;
  expect(report.rows.map((row) => row.cache)).toEqual(["fp16", "nuq4-1%", "nuq3-1%", "nuq2-1%", "kvq3"]);
  expect(exact!.noTail.kldMean).toBe(0);
  expect(exact!.cacheBytes).toBe(2 * 2 * 4 * 2 * 64 * 8192);
  expect(four!.noTail.kldMean).toBeLessThan(three!.noTail.kldMean);
  expect(three!.noTail.kldMean).toBeLessThan(two!.noTail.kldMean);
  expect(page!.noTail.kldMean).toBeLessThan(three!.noTail.kldMean);
  for (const row of report.rows.slice(1)) {
    expect(row.tail.kldMean).toBeLessThan(row.noTail.kldMean);
    expect(row.cacheBytes).toBeLessThan(exact!.cacheBytes! / 3);
  }

  const [exactAnswer, compressedAnswer] = report.answers;
  expect(exactAnswer!.text).not.toBe("");
  expect(compressedAnswer!.tokens).toBeGreaterThan(3 * 64);
  // Some hundred tokens, of which up to 127 are exact and held twice: before RoPE for their page to come, and rotated.
  expect(compressedAnswer!.cacheBytes).toBeLessThan(0.8 * exactAnswer!.cacheBytes);
});
