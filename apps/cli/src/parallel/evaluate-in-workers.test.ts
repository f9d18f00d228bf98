import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { EvaluationReport } from "@kvquant/eval";
import { isBuilt, runBuilt } from "./fixtures/run-built.js";
import { useTemporaryFolder } from "../fixtures/temporary-folder.js";

const folder = useTemporaryFolder();

function evaluate(...argv: string[]) {
  const common = ["eval", "tiny", "--sequences", "1", "--length", "512", "--context", "320", "--windows", "1", "--json", "--quiet"];
  return runBuilt([...common, ...argv], folder);
}

describe.skipIf(!isBuilt)("evaluation in workers (skipped before the first build)", () => {
  it("gives the rows of an evaluation in one thread, in the same order", { timeout: 300_000 }, async () => {
    const caches = ["--caches", "nuq2,fp16,kvq3,nuq3", "--tail", "0,64"];
    const alone = await evaluate(...caches, "--jobs", "1", "--threads", "1");
    const shared = await evaluate(...caches, "--jobs", "2", "--threads", "2");
    expect([alone.code, shared.code]).toEqual([0, 0]);
    const rows = ({ stdout }: { stdout: string }) => (JSON.parse(stdout) as EvaluationReport).rows.map(({ secondsPerWindow: _, ...row }) => row);
    expect(rows(shared)).toEqual(rows(alone));
    expect(rows(shared).map((row) => `${row.cache} ${row.tail}`)).toEqual(["nuq2 0", "fp16 0", "kvq3 0", "nuq3 0", "nuq2 64", "fp16 64", "kvq3 64", "nuq3 64"]);
  });

  it("refuses what one thread refuses, with the same code", { timeout: 300_000 }, async () => {
    const { code, stdout } = await evaluate("--caches", "nuq2,nuq3", "--jobs", "2", "--context", "4096", "--data", fileURLToPath(new URL("../../../../packages/model/models/tiny.txt", import.meta.url)));
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "INVALID_ARGUMENT", message: expect.stringContaining("2048") as string } });
  });
});
