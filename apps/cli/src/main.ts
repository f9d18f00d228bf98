#!/usr/bin/env node
/** The `kvquant` program: signals, streams and the exit code; all else is in `run`. */

import { watchReaders } from "./lost-readers.js";
import { run } from "./run.js";

/** Ctrl-C from a terminal reaches this process twice when it was started through a script that hands signals on. */
const repeatMilliseconds = 300;

const interruptedCode = 130;
const controller = new AbortController();
let interruptedAt: number | undefined;

function interrupt(): void {
  if (interruptedAt === undefined) {
    interruptedAt = Date.now();
    controller.abort();
    process.stderr.write("\nstopping; Ctrl-C again to end at once\n");
  } else if (Date.now() - interruptedAt > repeatMilliseconds) {
    process.exit(interruptedCode);
  }
}

process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);
watchReaders(process, () => process.exit(0));

const code = await run(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, signal: controller.signal });
// Worker threads of the engine must not keep a finished program alive; what is written to a pipe goes out first.
process.stdout.write("", () => process.exit(code));
