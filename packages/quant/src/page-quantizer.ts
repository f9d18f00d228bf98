/** Quantizers of how a page is written and read: sizes, checks and errors are done here. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact, Side } from "@kvquant/spec";
import type { LayerStatistics } from "./calibration/layer-statistics.js";
import { checkOut, checkPage } from "./check-matrix.js";
import { corrupt } from "./corrupt.js";
import { decodeGeometry, encodeGeometry } from "./geometry.js";
import type { Geometry } from "./geometry.js";
import type { Frame, Quantizer } from "./quantizer.js";

/** How the rows of a page become bytes and back. */
export interface PageMethod {
  /** Bytes of a page of `tokens` tokens, everything counted. */
  byteLength(tokens: number): number;
  /** Encodes rows `x` `[tokens, kvHeads * headDim]`, a copy that may be changed, into zeroed `bytes`. */
  write(x: Float32Array, tokens: number, bytes: Uint8Array): void;
  /**
   * Decodes all rows into `out` `[tokens, kvHeads * headDim]`.
   * @throws CORRUPT_DATA
   */
  read(bytes: Uint8Array, tokens: number, out: Float32Array): void;
}

/** What `PageRecipe.fit` puts into the artifact; id and geometry are added. */
export type PageArtifact = Omit<QuantizerArtifact, "id">;

/** What `pageQuantizer` needs. */
export interface PageRecipe {
  /** Namespaced, such as `my/keys`; attention on compressed pages knows only ids of `kvquant/`, pages of others are decoded first. */
  readonly id: string;
  readonly side: Side;
  readonly frame: Frame;
  /** @throws UNSUPPORTED for sizes that the format does not have, or statistics that lack something */
  fit(statistics: LayerStatistics): PageArtifact;
  /** @throws CORRUPT_DATA */
  open(artifact: QuantizerArtifact, geometry: Geometry): PageMethod;
}

/**
 * Makes a quantizer of a recipe. A block is exactly what its method writes, no header, no padding. Input is checked before `write`, lengths before `read`,
 * and an artifact's id and geometry before `open`.
 */
export function pageQuantizer({ id, side, frame, fit, open }: PageRecipe): Quantizer {
  return {
    specVersion: 1,
    id,
    side,
    frame,
    fit(statistics) {
      const { bits, packing, stages, arrays } = fit(statistics);
      return { id, bits, packing, stages, arrays: { geometry: encodeGeometry(statistics.geometry), ...arrays } };
    },
    open(artifact) {
      if (artifact.id !== id) throw corrupt("artifact", `one of ${id}`, artifact.id);
      const geometry = decodeGeometry(artifact);
      return pageCodec(id, open(artifact, geometry), geometry.kvHeads * geometry.headDim);
    },
  };
}

function pageCodec(id: string, method: PageMethod, columns: number): BlockCodec {
  return {
    encode(x: Matrix): EncodedBlock {
      checkPage(x, columns);
      const bytes = new Uint8Array(method.byteLength(x.rows));
      method.write(x.data.slice(), x.rows, bytes);
      return { tokens: x.rows, bytes, saturated: 0, clamped: 0 };
    },
    decode({ tokens, bytes }: EncodedBlock, out: Matrix): void {
      if (!Number.isInteger(tokens) || tokens < 1 || tokens > PAGE_TOKENS) throw corrupt(`${id}: tokens`, `1 to ${PAGE_TOKENS}`, tokens);
      const length = method.byteLength(tokens);
      if (bytes.length !== length) throw corrupt(`${id}: block of ${tokens} tokens`, `${length} bytes`, bytes.length);
      checkOut(out, tokens, columns);
      method.read(bytes, tokens, out.data);
    },
  };
}
