/** Fetches a wheel from PyPI, or whatever index the user has set for pip, through pip. */

import { spawn } from "node:child_process";
import { KvquantError } from "@kvquant/spec";
import { throwIfCancelled, unavailable } from "./failures.js";
import type { ResolveContext } from "./resolve-options.js";

interface PipResult {
  /** undefined when there is no such Python. */
  readonly exitCode: number | undefined;
  readonly errors: string;
}

/**
 * Runs `python3 -m pip download --no-deps <requirement>` into `folder`. The Python is KVQUANT_PYTHON, else python3, else python.
 * @throws UNAVAILABLE when there is no Python, no pip, or pip fails (with the end of what it said)
 * @throws CANCELLED
 */
export async function pipDownload(requirement: string, folder: string, context: ResolveContext): Promise<void> {
  const own = process.env["KVQUANT_PYTHON"];
  for (const python of own ? [own] : ["python3", "python"]) {
    const base = ["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "-d", folder];
    let result = await run(python, [...base, "--progress-bar", "raw", requirement], requirement, context);
    // pip before 24.1 cannot report its progress.
    if (result.exitCode === 2 && result.errors.includes("progress-bar")) result = await run(python, [...base, "--progress-bar", "off", requirement], requirement, context);
    if (result.exitCode === undefined) continue;
    if (result.exitCode === 0) return;
    throw unavailable(`pip download ${requirement}`, `pip failed with exit code ${result.exitCode} (${lastLine(result.errors)})`, "check that pip can reach its index (pip config list)");
  }
  throw unavailable(`pip download ${requirement}`, `there is no ${own ?? "python3"}`, "install Python 3 with pip, or set KVQUANT_PYTHON to it");
}

function run(python: string, parameters: readonly string[], requirement: string, context: ResolveContext): Promise<PipResult> {
  const stage = `pip download ${requirement}`;
  throwIfCancelled(context.signal, stage);
  context.progress(stage);
  return new Promise((resolve, reject) => {
    const child = spawn(python, parameters, { stdio: ["ignore", "pipe", "pipe"], ...(context.signal ? { signal: context.signal } : {}) });
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const last = [...text.matchAll(/Progress (\d+) of (\d+)/g)].at(-1);
      if (last) context.progress(stage, Number(last[1]), Number(last[2]));
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-8000);
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") resolve({ exitCode: undefined, errors });
      else if (context.signal?.aborted) reject(new KvquantError("CANCELLED", `${stage}: cancelled; start again to download`, { cause: error }));
      else reject(unavailable(stage, `${python} could not be run (${error.message})`, "set KVQUANT_PYTHON to a Python 3 with pip", error));
    });
    child.on("close", (exitCode) => resolve({ exitCode: exitCode ?? 1, errors }));
  });
}

function lastLine(text: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("[notice]"));
  return lines.at(-1)?.slice(0, 300) ?? "it said nothing";
}
