import { describe, expect, it } from "vitest";
import { runWorkers } from "./run-workers.js";
import type { WorkerRun } from "./run-workers.js";

/** A worker's program; `job` says which one it is. */
function program(body: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(`import { parentPort, workerData } from "node:worker_threads"; const { job } = workerData; const report = { kind: "report", report: { rows: [job] } }; ${body}`)}`);
}

const tasks = [0, 1, 2].map((job) => ({ job }));
const start = (body: string, more: Partial<WorkerRun> = {}) => runWorkers(tasks, { program: program(body), onNotice: () => undefined, onShare: () => undefined, ...more });
/** The others would go on for ever. */
const others = "setInterval(() => undefined, 1000);";

describe("runWorkers", () => {
  it("gives the report of each, in the order of the tasks", async () => {
    expect(await start("setTimeout(() => parentPort.postMessage(report), 60 - 30 * job);")).toEqual([{ rows: [0] }, { rows: [1] }, { rows: [2] }]);
  });

  it.each([
    ["ends without a word", "process.exit(3);", { code: "UNAVAILABLE", message: expect.stringContaining("code 3") as string }],
    ["throws", "throw new RangeError(\"Array buffer allocation failed\");", { name: "RangeError" }],
    ["runs out of memory", "const all = []; for (;;) all.push(new Array(100_000).fill(0).map(() => ({})));", { code: "OUT_OF_CAPACITY", message: expect.stringContaining("--jobs") as string }],
    ["says what went wrong", "parentPort.postMessage({ kind: \"error\", code: \"CORRUPT_DATA\", message: \"x\" });", { code: "CORRUPT_DATA", message: "x" }],
  ])("fails by type when one %s, and ends the others", async (_how, body, expected) => {
    const run = start(`if (job !== 1) { ${others} } else { ${body} }`, _how === "runs out of memory" ? { heapMebibytes: 32 } : {});
    await expect(run).rejects.toMatchObject(expected);
  });

  it("ends all of them when it is cancelled", async () => {
    const controller = new AbortController();
    const run = start(others, { signal: controller.signal });
    controller.abort();
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
