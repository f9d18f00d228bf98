/** Code widths of the baselines that have none of their own. */

import { check } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import { corrupt } from "../corrupt.js";

/** Bits of a code. */
export type CodeWidth = 2 | 3 | 4;

const isWidth = (bits: number): bits is CodeWidth => bits === 2 || bits === 3 || bits === 4;

/** Throws INVALID_ARGUMENT for other bits. */
export function checkCodeWidth(what: string, bits: number): void {
  check(isWidth(bits), `${what}: bits`, "2, 3 or 4", bits);
}

/** The bits of an artifact. @throws CORRUPT_DATA for others */
export function openCodeWidth({ id, bits }: QuantizerArtifact): CodeWidth {
  if (!isWidth(bits)) throw corrupt(`artifact ${id}: bits`, "2, 3 or 4", bits);
  return bits;
}
