/** One engine for every page layout: 64 lanes side by side, each holding the same arrangement of codes in bytes. */

import { checkInteger, checkLength, KvquantError } from "@kvquant/spec";
import { checkCodes, checkPackedLength } from "./check-codes.js";
import type { PageBits, PageFormat } from "./page-format.js";

const LANES = 64;
const WIDTHS: readonly number[] = [2, 3, 4, 5];

/** A run of bits of one code of a unit that lies in one byte of it: code bits `codeBit ..` at byte bits `bit ..`. */
export interface BitField {
  readonly code: number;
  readonly codeBit: number;
  readonly width: number;
  readonly byte: number;
  readonly bit: number;
}

/**
 * A page layout. A unit is the smallest number of codes of one lane that fills whole words; units follow each other,
 * and inside a unit all 64 lanes of a word lie side by side.
 */
export interface LaneLayout {
  /** First part of the id, such as `key-lanes`. */
  readonly name: string;
  readonly bits: PageBits;
  readonly headDim: number;
  /** Codes of one lane in a unit; they take `unitCodes * bits / 8` bytes. */
  readonly unitCodes: number;
  /** Where each bit of a unit's codes lies; together they fill the unit's bytes. */
  readonly fields: readonly BitField[];
  /** Bytes of a word, 1 or 2; words are little-endian. */
  readonly wordBytes: 1 | 2;
  /** Index into the page's codes is `vectorOffset(n) + laneOffset(lane)` for the n-th code of a lane, n = 0 .. headDim - 1. */
  vectorOffset(n: number): number;
  laneOffset(lane: number): number;
}

/**
 * Throws unless a page layout exists for the width and head dim.
 * @throws UNSUPPORTED for bits other than 2 to 5 or a head dim that is not a multiple of 16
 * @throws INVALID_ARGUMENT for a head dim that is not a positive whole number
 */
export function checkPageShape(what: string, bits: number, headDim: number): void {
  checkInteger(`${what}: headDim`, headDim, { minimum: 1, maximum: 65536 });
  if (!WIDTHS.includes(bits)) throw new KvquantError("UNSUPPORTED", `${what}: expected 2, 3, 4 or 5 bits, got ${bits}; use linear(bits)`);
  if (headDim % 16 !== 0) throw new KvquantError("UNSUPPORTED", `${what}: expected a head dim that is a multiple of 16, got ${headDim}; use linear(bits)`);
}

/** Makes the page format of a layout; the positions of all fields are computed once, here. */
export function laneFormat(layout: LaneLayout): PageFormat {
  const { bits, headDim, wordBytes } = layout;
  const id = `${layout.name}-${bits}x${headDim}`;
  const codeCount = LANES * headDim;
  const byteLength = (codeCount * bits) / 8;
  const table: FieldTable = { steps: fieldSteps(layout), laneOffsets: Int32Array.from({ length: LANES }, (_, lane) => layout.laneOffset(lane)), wordBytes };

  function pack(codes: Uint8Array, out: Uint8Array = new Uint8Array(byteLength)): Uint8Array {
    checkLength(`${id}: pack: codes`, codes, codeCount);
    checkLength(`${id}: pack: out`, out, byteLength);
    checkCodes(`${id}: pack`, codes, bits);
    out.fill(0);
    packFields(table, codes, out);
    return out;
  }

  function unpack(bytes: Uint8Array, out: Uint8Array = new Uint8Array(codeCount)): Uint8Array {
    checkPackedLength(`${id}: unpack`, bytes, byteLength);
    checkLength(`${id}: unpack: out`, out, codeCount);
    out.fill(0);
    unpackFields(table, bytes, out);
    return out;
  }

  return { id, bits, headDim, byteLength, pack, unpack };
}

/** Numbers that describe a field in `steps`: code index of lane 0, code bit, mask, byte of lane 0, byte bit. */
const STEP = 5;

/** All positions of a page. */
interface FieldTable {
  /** `[units * fields, STEP]` */
  readonly steps: Int32Array;
  /** `[64]` what a lane adds to the code index; to the byte it adds `lane * wordBytes`. */
  readonly laneOffsets: Int32Array;
  readonly wordBytes: number;
}

// The two loops are functions of their own: inside the closures of `laneFormat` they took 1.2 times as long (Node 20).

/** Adds every field of `codes` to the zeros of `out`. */
function packFields({ steps, laneOffsets, wordBytes }: FieldTable, codes: Uint8Array, out: Uint8Array): void {
  for (let step = 0; step < steps.length; step += STEP) {
    const from = steps[step]!;
    const codeBit = steps[step + 1]!;
    const mask = steps[step + 2]!;
    const bit = steps[step + 4]!;
    for (let lane = 0, to = steps[step + 3]!; lane < LANES; lane++, to += wordBytes) {
      out[to]! |= ((codes[from + laneOffsets[lane]!]! >>> codeBit) & mask) << bit;
    }
  }
}

/** Adds every field of `bytes` to the zeros of `out`. */
function unpackFields({ steps, laneOffsets, wordBytes }: FieldTable, bytes: Uint8Array, out: Uint8Array): void {
  for (let step = 0; step < steps.length; step += STEP) {
    const to = steps[step]!;
    const codeBit = steps[step + 1]!;
    const mask = steps[step + 2]!;
    const bit = steps[step + 4]!;
    for (let lane = 0, from = steps[step + 3]!; lane < LANES; lane++, from += wordBytes) {
      out[to + laneOffsets[lane]!]! |= ((bytes[from]! >>> bit) & mask) << codeBit;
    }
  }
}

/** The fields of every unit of a page, `[units * fields, STEP]`. */
function fieldSteps(layout: LaneLayout): Int32Array {
  const { bits, headDim, unitCodes, fields, wordBytes } = layout;
  const units = headDim / unitCodes;
  const unitBytes = (LANES * unitCodes * bits) / 8;
  const steps = new Int32Array(units * fields.length * STEP);
  let at = 0;
  for (let unit = 0; unit < units; unit++) {
    for (const { code, codeBit, width, byte, bit } of fields) {
      const word = Math.floor(byte / wordBytes);
      steps[at++] = layout.vectorOffset(unit * unitCodes + code);
      steps[at++] = codeBit;
      steps[at++] = (1 << width) - 1;
      steps[at++] = unit * unitBytes + word * wordBytes * LANES + (byte % wordBytes);
      steps[at++] = bit;
    }
  }
  return steps;
}
