/** llama.cpp as a subject: a process of its own, through node-llama-cpp, which only this repository's tools install. */

import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { KvquantError } from "@kvquant/spec";
import { peerEngine } from "./model-report.js";
import type { SpeedSubject } from "./speed-subject.js";

/** Types of the peer's cache: its best, and its smallest common one. */
export const peerCaches = ["f16", "q4_0"] as const;

export type PeerCache = (typeof peerCaches)[number];

/** How the peer runs. */
export interface PeerOptions {
  /** A GGUF file. */
  readonly path: string;
  readonly cache: PeerCache;
  readonly threads: number;
  /** Longest sequence, with the tokens decoded from it. */
  readonly contextSize: number;
  readonly tokenAt: (position: number) => number;
  readonly signal: AbortSignal;
}

/** What the peer's process is asked; it answers `{ result }` or `{ error }`. */
export type PeerRequest =
  | { readonly kind: "open"; readonly path: string; readonly cache: PeerCache; readonly threads: number; readonly contextSize: number }
  | { readonly kind: "clear" }
  | { readonly kind: "fill"; readonly tokens: readonly number[] }
  | { readonly kind: "decode"; readonly token: number; readonly steps: number }
  | { readonly kind: "memory" };

const toolFolder = join("tools", "compare-llama-cpp");
const program = "speed-peer.mjs";

/**
 * The path of the peer's program.
 * @throws UNAVAILABLE outside of the repository, or before node-llama-cpp was installed there
 */
export function findPeer(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, toolFolder, program))) continue;
    if (existsSync(join(folder, toolFolder, "node_modules", "node-llama-cpp"))) return join(folder, toolFolder, program);
    throw new KvquantError("UNAVAILABLE", `--peer: expected node-llama-cpp in ${toolFolder}, got none; install it with "npm install --prefix ${toolFolder} --omit=optional --ignore-scripts --no-package-lock"`);
  }
  throw new KvquantError("UNAVAILABLE", `--peer: expected a checkout of the KVQuant repository, whose ${toolFolder} runs the peer, got none above this program; leave --peer out`);
}

/** Starts the peer and loads the model. */
export async function openPeer({ path, cache, threads, contextSize, tokenAt, signal }: PeerOptions): Promise<SpeedSubject> {
  const child = fork(findPeer(), [], { stdio: ["ignore", "ignore", "inherit", "ipc"], execArgv: [] });
  const stop = (): void => void child.kill();
  signal.addEventListener("abort", stop);
  const dispose = async (): Promise<void> => {
    signal.removeEventListener("abort", stop);
    stop();
  };
  let length = 0;
  let tokenBytes: number;
  try {
    tokenBytes = await ask(child, { kind: "open", path, cache, threads, contextSize });
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    engine: peerEngine,
    cache,
    batch: 1,
    isLocal: false,
    async clear() {
      length = 0;
      await ask(child, { kind: "clear" });
    },
    async fill(target) {
      const tokens = Array.from({ length: target - length }, (_, index) => tokenAt(length + index));
      length = target;
      return ask(child, { kind: "fill", tokens });
    },
    decode: (steps) => ask(child, { kind: "decode", token: tokenAt(length), steps }),
    memory: async () => ({ cacheBytes: tokenBytes * length, processBytes: await ask(child, { kind: "memory" }) }),
    dispose,
  };
}

/** One question at a time; every answer is a number. */
function ask(child: ChildProcess, request: PeerRequest): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (action: () => void): void => {
      child.off("message", answer);
      child.off("exit", end);
      action();
    };
    const answer = (message: { readonly result?: number; readonly error?: string }): void =>
      settle(() => (message.result === undefined ? reject(new KvquantError("UNSUPPORTED", `--peer: llama.cpp: ${message.error}`)) : resolve(message.result)));
    const end = (code: number | null, by: string | null): void => settle(() => reject(new KvquantError("UNAVAILABLE", `--peer: expected an answer from llama.cpp, got the end of its process (${code ?? by})`)));
    child.on("message", answer);
    child.on("exit", end);
    child.send(request);
  });
}
