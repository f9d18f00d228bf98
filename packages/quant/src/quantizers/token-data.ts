/** fp16 numbers of the tokens of a page. */

import { floatFromHalf } from "@kvquant/packing";
import { PAGE_TOKENS } from "@kvquant/spec";
import { corrupt } from "../corrupt.js";
import { readHalfBits, writeHalfBits } from "../numeric/half-array.js";

/** Writes half bits `[64]` little-endian at `offset`. */
export function writeTokenHalves(bytes: Uint8Array, offset: number, bits: Uint16Array, tokens: number): void {
  for (let token = 0; token < tokens; token++) writeHalfBits(bytes, offset + 2 * token, bits[token]!);
}

/**
 * Reads the halves of `tokens` tokens at `offset` into `out`; the caller knows that they exist.
 * @throws CORRUPT_DATA for one that is not finite
 */
export function readTokenHalves(bytes: Uint8Array, offset: number, tokens: number, out: Float32Array): void {
  for (let token = 0; token < tokens; token++) {
    const value = floatFromHalf(readHalfBits(bytes, offset + 2 * token));
    if (!Number.isFinite(value)) throw corrupt(`block: number of token ${token}`, "a finite half", value);
    out[token] = value;
  }
}

/** Bytes of one array of token data. */
export const TOKEN_ARRAY_BYTES = 2 * PAGE_TOKENS;
