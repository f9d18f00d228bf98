/** Instruction sets with kernels and the choice between them. */

import { KvquantError } from "@kvquant/spec";

import { loadAddon } from "./addon.js";

/** `scalar` runs everywhere; `avx512` needs F, BW, CD, DQ, VL, VBMI, VBMI2 and VNNI. */
export type Isa = "scalar" | "avx2" | "avx512";

/** All instruction sets with kernels, by the addon's number. */
export const ISAS: readonly Isa[] = ["scalar", "avx2", "avx512"];

/** Those this CPU has, lowest first. @throws NATIVE_UNAVAILABLE */
export function availableIsas(): Isa[] {
  return loadAddon()
    .isas()
    .filter((name): name is Isa => name !== null);
}

/**
 * The instruction set to use: `wanted`, else the environment variable `KVQUANT_ISA`, else the highest available one.
 * @throws UNSUPPORTED for one that is unknown or that this CPU lacks
 */
export function chooseIsa(wanted?: Isa): Isa {
  const available = availableIsas();
  const named = wanted ?? process.env.KVQUANT_ISA;
  if (named === undefined || named === "") return available.at(-1)!;
  const isa = available.find((name) => name === named);
  if (isa === undefined) throw new KvquantError("UNSUPPORTED", `instruction set: expected one of ${available.join(", ")} on this CPU, got ${named}; unset KVQUANT_ISA to take the best`);
  return isa;
}

/** The addon's number of an instruction set. */
export function isaNumber(isa: Isa): number {
  return ISAS.indexOf(isa);
}
