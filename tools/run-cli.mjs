// `npm run kvquant -- <command>`, `npm run demo` and `npm start`: sets up what is missing, then runs the command line program.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

/** @type {NodeJS.Signals[]} */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"];

try {
  await setUp();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

const child = spawn(process.execPath, [join(root, "apps/cli/dist/main.js"), ...process.argv.slice(2)], { stdio: "inherit" });
// Handed on, and the child decides when to end. After Ctrl-C it gets two at once, from the terminal and from here; it takes them for one.
for (const signal of signals) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
child.on("close", (code, signal) => {
  if (signal !== null) {
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  } else {
    process.exitCode = code ?? 1;
  }
});
