/** Which engine runs a model: the native one where it can, the reference one where asked or where nothing else works. */

import { backendInfo, createThreads } from "@kvquant/cpu";
import type { Isa } from "@kvquant/cpu";
import { KvquantError } from "@kvquant/spec";
import type { Engine } from "./engine/engine.js";
import { NativeEngine } from "./engine/native-engine.js";
import type { NativeEngineOptions } from "./engine/native-engine.js";
import { ReferenceEngine } from "./engine/reference-engine.js";
import type { ModelFile } from "./files/model-file.js";

/** `auto`: native, or the reference engine with a warning where native kernels are missing; the others are taken or fail. */
export type EngineChoice = "auto" | "native" | "reference";

/** Options of an engine. */
export interface EngineOptions {
  /** Default `auto`. */
  readonly engine?: EngineChoice | undefined;
  /** Threads, default all processors. */
  readonly threads?: number | undefined;
  /** Instruction set of the native engine; default the best, or what `KVQUANT_ISA` names. */
  readonly isa?: Isa | undefined;
  /** Products of the native engine with fp32 activations. Default `none`. */
  readonly exactProducts?: NativeEngineOptions["exactProducts"];
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly onLayerLoaded?: ((done: number, total: number) => void) | undefined;
}

/**
 * Makes the engine of an open model file.
 * @throws NATIVE_UNAVAILABLE, UNSUPPORTED when `native` is asked for and cannot be had
 */
export async function createEngine(file: ModelFile, options: EngineOptions = {}): Promise<Engine> {
  const { engine = "auto" } = options;
  if (engine === "reference") return createReference(file, options);
  const info = backendInfo();
  if (!info.available && engine === "auto") {
    options.onWarning?.(`the reference engine is used: ${info.reason}`);
    return createReference(file, options);
  }
  try {
    return NativeEngine.create(file, { threads: createThreads(options.threads), isa: options.isa, exactProducts: options.exactProducts, onLayerLoaded: options.onLayerLoaded });
  } catch (error) {
    if (engine === "native" || !KvquantError.isInstance(error) || error.code !== "UNSUPPORTED" || options.isa !== undefined) throw error;
    options.onWarning?.(`the reference engine is used: ${error.message}`);
    return createReference(file, options);
  }
}

function createReference(file: ModelFile, options: EngineOptions): Promise<ReferenceEngine> {
  return ReferenceEngine.create(file, { threads: options.threads, onLayerLoaded: options.onLayerLoaded });
}
