import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isBuilt, runBuilt } from "./fixtures/run-built.js";
import { useTemporaryFolder } from "../fixtures/temporary-folder.js";

const folder = useTemporaryFolder();

function suite(...argv: string[]) {
  const common = ["eval", "tiny", "--sequences", "1", "--length", "512", "--suite", "kld,drift,passkey", "--lengths", "320", "--windows", "2", "--trials", "2"];
  const drift = ["--drift-prompts", "1", "--drift-prompt-tokens", "140", "--drift-tokens", "8"];
  return runBuilt([...common, ...drift, "--json", ...argv], join(folder, "cache"));
}

/** Everything but the seconds. */
const figures = (text: string): unknown => JSON.parse(text, (name, value: unknown) => (name === "secondsPerWindow" ? 0 : value));

describe.skipIf(!isBuilt)("the suite in workers (skipped before the first build)", () => {
  const caches = ["--caches", "kvq3,nuq2,fp16,nuq3", "--tail", "0,64"];

  it("gives the report of one thread, from units that a later run can resume", { timeout: 300_000 }, async () => {
    const alone = await suite(...caches, "--threads", "1");
    const report = join(folder, "report");
    const shared = await suite(...caches, "--jobs", "3", "--threads", "3", "--report", report);
    expect([alone.code, shared.code]).toEqual([0, 0]);
    expect(figures(shared.stdout)).toEqual(figures(alone.stdout));
    expect(figures(readFileSync(join(report, "report.json"), "utf8"))).toEqual(figures(alone.stdout));
    // 7 rows (fp16 once) of 2 windows, 1 continuation and 2 trials.
    const units = readdirSync(join(report, "units"), { recursive: true }).filter((name) => String(name).endsWith(".json"));
    expect(units).toHaveLength(7 * 5);
    const resumed = await suite(...caches, "--report", report, "--resume");
    expect(resumed.stderr).toContain("35 of 35 units were finished before");
    expect(figures(resumed.stdout)).toEqual(figures(alone.stdout));
  });

  it("refuses what one thread refuses, with the same code", { timeout: 300_000 }, async () => {
    const { code, stdout } = await suite("--caches", "kvq3,nuq3", "--jobs", "2", "--lengths", "4096");
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "INVALID_ARGUMENT", message: expect.stringContaining("2048") as string } });
  });
});
