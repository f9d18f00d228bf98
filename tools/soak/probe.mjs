// Loaded into the server's process by `--import`: answers each message of the parent with what the process takes, garbage collected first, so that a trend is a leak.
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

/** @typedef {{ rss: number, anonymous: number, heap: number, external: number, handles: number, loopP99: number }} ProbeSample bytes, counts, and milliseconds since the last sample */

const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();

process.on("message", () => {
  const loopP99 = delay.percentile(99) / 1e6;
  /** @type {{ gc?: () => void }} */ (globalThis).gc?.();
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  /** @type {ProbeSample} */
  const sample = { rss, anonymous: anonymousBytes(), heap: heapUsed, external: external + arrayBuffers, handles: process.getActiveResourcesInfo().length, loopP99 };
  process.send?.(sample);
  delay.reset();
});
// The channel to the parent keeps nobody from ending, and without a parent there is nobody to serve.
process.channel?.unref();
process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));

/** Memory that no file stands behind: the pages of a store that are mapped come and go with the system's needs. */
function anonymousBytes() {
  if (process.platform !== "linux") return process.memoryUsage.rss();
  return 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0);
}
