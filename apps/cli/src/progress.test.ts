import { describe, expect, it } from "vitest";
import { createProgress } from "./progress.js";

function recorder() {
  const lines: string[] = [];
  return { lines, write: (text: string) => void lines.push(text) };
}

describe("createProgress", () => {
  it("writes at most a line every five seconds without a terminal, and one at the end", async () => {
    const sink = recorder();
    let time = 0;
    const progress = createProgress(sink, { now: () => time });
    await progress.run("calibrating", async (update) => {
      for (time = 0; time <= 12_000; time += 1000) update(time / 24_000, "window 1 of 1");
      time = 24_000;
    });
    expect(sink.lines).toEqual(["calibrating: 20%, window 1 of 1, 5.0 s\n", "calibrating: 41%, window 1 of 1, 10.0 s\n", "calibrating: done, 24.0 s\n"]);
  });

  it("hands results through and says how it went", async () => {
    const sink = recorder();
    const result = await createProgress(sink, { now: () => 0 }).run("counting", async () => 3, (count) => `${count} found`);
    expect(result).toBe(3);
    expect(sink.lines).toEqual(["counting: 3 found, 0.0 s\n"]);
  });

  it("claims nothing about a stage that failed", async () => {
    const sink = recorder();
    await expect(createProgress(sink).run("failing", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(sink.lines).toEqual([]);
  });

  it("writes nothing when quiet", async () => {
    const sink = recorder();
    const progress = createProgress(sink, { quiet: true });
    progress.note("hello");
    await progress.run("working", async (update) => update(0.5));
    expect(sink.lines).toEqual([]);
  });
});
