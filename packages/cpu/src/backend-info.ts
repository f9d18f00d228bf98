/** What the native backend can do here. */

import { cpus } from "node:os";

import { KvquantError } from "@kvquant/spec";

import { availableIsas, chooseIsa, ISAS } from "./isa.js";
import type { Isa } from "./isa.js";

/** An instruction set that is not used, and why. */
export interface MissingIsa {
  readonly isa: string;
  readonly reason: string;
}

/** The state of the native backend. Which path each (layer, side, bits) of a cache takes is `NativeKvCache.paths()`, those of the weights `NativeModel.info().paths`. */
export interface BackendInfo {
  readonly available: boolean;
  /** Why not, when it is not. */
  readonly reason?: string;
  /** As the operating system names it. */
  readonly cpu: string;
  /** Used unless told otherwise (`KVQUANT_ISA`). */
  readonly isa?: Isa;
  readonly isas: readonly Isa[];
  readonly missing: readonly MissingIsa[];
}

/** Says whether the addon loads, which instruction sets it can use, and which it cannot. Never throws for a missing addon. @throws UNSUPPORTED when KVQUANT_ISA names one that is missing */
export function backendInfo(): BackendInfo {
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  const noHalfArithmetic = { isa: "avx512fp16", reason: "no kernels: they would have to be executed on a CPU that has it before they are listed" };
  let isas: Isa[];
  try {
    isas = availableIsas();
  } catch (error) {
    if (!KvquantError.isInstance(error)) throw error;
    return { available: false, reason: error.message, cpu, isas: [], missing: [...ISAS.map((isa) => ({ isa, reason: "the addon is missing" })), noHalfArithmetic] };
  }
  const missing = ISAS.filter((isa) => !isas.includes(isa)).map((isa) => ({ isa, reason: "this CPU lacks it" }));
  return { available: true, cpu, isa: chooseIsa(), isas, missing: [...missing, noHalfArithmetic] };
}
