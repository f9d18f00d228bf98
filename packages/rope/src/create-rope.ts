/** A model's rotary embedding with its table of cosines and sines. */

import { checkInteger } from "@kvquant/spec";
import { checkRopeConfig } from "./rope-config.js";
import type { RopeConfig } from "./rope-config.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import { fillRopeRows } from "./rope-table.js";
import type { RopeTable } from "./rope-table.js";

/** Makes tables for one model; holds memory only, so it needs no disposal. */
export interface Rope {
  readonly config: RopeConfig;
  /**
   * True when frequencies follow the sequence length (dynamic, longrope). A cache of keys before RoPE then rotates ALL its keys with the
   * frequencies of the current length, so queries and keys always agree. Hugging Face keeps keys after RoPE and never re-rotates
   * them: past the original length its old keys carry old frequencies, and results differ from these.
   */
  readonly dependsOnLength: boolean;
  /**
   * Rotations of positions `position .. position + count - 1` in a sequence of `sequenceLength` tokens (at least 1; ignored unless `dependsOnLength`).
   * A table from position 0 is kept and grown while requests start inside it, at its end, or end below position 4,096; a jump
   * beyond is computed directly. For `dynamic` past its original length the kept table lasts as long as `sequenceLength` stays the same.
   * @throws INVALID_ARGUMENT for a negative or fractional argument
   */
  tables(position: number, count: number, sequenceLength: number): RopeTable;
}

/**
 * Makes the rotary embedding of a model.
 * @throws INVALID_ARGUMENT for a configuration that makes no sense
 */
export function createRope(config: RopeConfig): Rope {
  checkRopeConfig(config);
  const { scaling } = config;
  const original = createGrowingTable(config, 0);
  /** Dynamic or longrope past the original length. */
  let stretched: { readonly length: number; readonly table: GrowingTable } | undefined;

  /** The length that frequencies depend on: 0 up to the original length, so that all such lengths share a table. */
  function effectiveLength(sequenceLength: number): number {
    if (scaling.type === "dynamic") return sequenceLength > scaling.maxPositionEmbeddings ? sequenceLength : 0;
    if (scaling.type === "longrope") return sequenceLength > scaling.originalMaxPositionEmbeddings ? scaling.originalMaxPositionEmbeddings + 1 : 0;
    return 0;
  }

  return {
    config,
    dependsOnLength: scaling.type === "dynamic" || scaling.type === "longrope",
    tables(position, count, sequenceLength) {
      checkInteger("tables: position", position, { minimum: 0 });
      checkInteger("tables: count", count, { minimum: 0 });
      checkInteger("tables: sequenceLength", sequenceLength, { minimum: 0 });
      const length = effectiveLength(sequenceLength);
      if (length === 0) return original.rows(position, count);
      if (stretched?.length !== length) stretched = { length, table: createGrowingTable(config, length) };
      return stretched.table.rows(position, count);
    },
  };
}

interface GrowingTable {
  rows(position: number, count: number): RopeTable;
}

/** Requests that end below this position grow the table even when they start past its end. */
const NEAR_POSITIONS = 4096;

function createGrowingTable(config: RopeConfig, sequenceLength: number): GrowingTable {
  const { inverseFrequencies, attentionFactor } = ropeFrequencies(config, sequenceLength);
  const pairs = inverseFrequencies.length;
  let cos = new Float32Array(0);
  let sin = new Float32Array(0);
  let filled = 0;

  /** Grows by at least half into new arrays once the old are full; earlier tables keep viewing the old ones. */
  function growTo(end: number): void {
    if (end * pairs > cos.length) {
      const capacity = Math.max(end, Math.ceil(filled * 1.5));
      const grownCos = new Float32Array(capacity * pairs);
      const grownSin = new Float32Array(capacity * pairs);
      grownCos.set(cos.subarray(0, filled * pairs));
      grownSin.set(sin.subarray(0, filled * pairs));
      cos = grownCos;
      sin = grownSin;
    }
    fillRopeRows({ start: 0, from: filled, to: end, cos, sin }, inverseFrequencies);
    filled = end;
  }

  return {
    rows(start, count) {
      const end = start + count;
      if (start > filled && end > NEAR_POSITIONS) {
        const direct = { start, from: 0, to: count, cos: new Float32Array(count * pairs), sin: new Float32Array(count * pairs) };
        fillRopeRows(direct, inverseFrequencies);
        return { start, count, cos: direct.cos, sin: direct.sin, attentionFactor };
      }
      if (end > filled) growTo(end);
      return { start, count, cos: cos.subarray(start * pairs, end * pairs), sin: sin.subarray(start * pairs, end * pairs), attentionFactor };
    },
  };
}
