/** A server in a process of its own, so that what measures it takes none of its time. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { KvquantError } from "@kvquant/spec";

/** A server that listens. */
export interface ServeProcess {
  readonly url: string;
  /** Tells it to end, and waits for that. */
  close(): Promise<void>;
}

/** Starts `kvquant serve` with these arguments on a free port. @throws UNAVAILABLE with what it said when it ends instead of listening */
export async function startServeProcess(args: readonly string[], program = fileURLToPath(new URL("./main.js", import.meta.url))): Promise<ServeProcess> {
  const child = spawn(process.execPath, [program, "serve", "--port", "0", "--log-level", "warn", "--log-format", "text", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => void (said = (said + chunk.toString("utf8")).slice(-4000)));
  const ended = new Promise<void>((resolve) => void child.once("close", () => resolve()));
  const listening = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [, url] = /^listening on (\S+)$/.exec(line) ?? [];
      if (url !== undefined) resolve(url);
    });
  });
  const url = await Promise.race([listening, ended.then(() => undefined)]);
  if (url === undefined) throw new KvquantError("UNAVAILABLE", `kvquant serve ${args.join(" ")}: expected a server that listens, got one that ended: ${said.trim()}`);
  return {
    url,
    async close() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
