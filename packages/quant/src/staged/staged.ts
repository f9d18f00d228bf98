/** Quantizers composed of stages, a coder and a packing format. */

import type { PackingFormat } from "@kvquant/packing";
import { check, checkFinite, PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, QuantizerArtifact, Side } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { checkOut, checkPage } from "../check-matrix.js";
import { corrupt } from "../corrupt.js";
import { decodeGeometry, encodeGeometry } from "../geometry.js";
import type { Frame, Quantizer } from "../quantizer.js";
import type { Coder, FitContext, Parameters, Stage } from "./stage.js";

/** Parts of a composed quantizer. */
export interface StagedParts {
  /** Namespaced id of the whole; not one of kvquant's. */
  readonly id: string;
  readonly side: Side;
  /** Default `pre-rope`; a `post-rope` quantizer gets no statistics of channels. */
  readonly frame?: Frame;
  /** Applied in order when encoding, undone in reverse. */
  readonly stages: readonly Stage[];
  readonly coder: Coder;
  /** Linear format of the coder's width. */
  readonly packing: PackingFormat;
}

/**
 * Builds a quantizer. A block is
 * ```
 * for each stage: u32 length little-endian, side bytes | packed codes [tokens, kvHeads * headDim], token after token
 * ```
 * Artifact arrays are `<index>.<name>` for stage number index and `coder.<name>`.
 * @throws INVALID_ARGUMENT when the packing is of another width than the coder
 */
export function staged(parts: StagedParts): Quantizer {
  const { id, side, frame = "pre-rope", stages, coder, packing } = parts;
  check(packing.bits === coder.bits, `${id}: packing`, `${coder.bits} bits, as the coder`, packing.id);
  check(!id.startsWith("kvquant/"), "staged: id", "a name space of your own, such as my/keys", id);

  return {
    specVersion: 1,
    id,
    side,
    frame,
    fit(statistics: LayerStatistics): QuantizerArtifact {
      let context: FitContext = { statistics, side, outlierFraction: 0, mixed: frame === "post-rope" };
      const arrays: Record<string, Float32Array> = { geometry: encodeGeometry(statistics.geometry) };
      const keep = (prefix: string, parameters: Parameters): void => {
        for (const [name, array] of Object.entries(parameters)) arrays[`${prefix}.${name}`] = array;
      };
      stages.forEach((stage, index) => {
        const fitted = stage.fit(context);
        keep(`${index}`, fitted.parameters);
        context = { ...context, ...fitted.context };
      });
      keep("coder", coder.fit(context));
      return { id, bits: coder.bits, packing: packing.id, stages: [...stages.map((stage) => stage.id), coder.id], arrays };
    },
    open(artifact) {
      const expected = [...stages.map((stage) => stage.id), coder.id].join(", ");
      if (artifact.id !== id || artifact.stages.join(", ") !== expected) throw corrupt("artifact", `${id} of ${expected}`, `${artifact.id} of ${artifact.stages.join(", ")}`);
      if (artifact.packing !== packing.id) throw corrupt(`artifact ${id}: packing`, packing.id, artifact.packing);
      const { kvHeads, headDim } = decodeGeometry(artifact);
      return stagedCodec({ id, stages, coder, packing }, artifact, kvHeads * headDim);
    },
  };
}

function stagedCodec({ id, stages, coder, packing }: Omit<StagedParts, "side">, artifact: QuantizerArtifact, columns: number): BlockCodec {
  const parameters = stages.map((_, index) => select(artifact, `${index}.`));
  const coderParameters = select(artifact, "coder.");
  return {
    encode(x) {
      checkPage(x, columns);
      const page = { data: x.data.slice(), rows: x.rows, cols: columns };
      const sides = stages.map((stage, index) => stage.forward(page, parameters[index]!));
      checkFinite(`${id}: numbers to code`, page.data);
      const codes = new Uint8Array(page.data.length);
      coder.encode(page.data, codes, coderParameters);
      const packed = packing.pack(codes);
      const bytes = new Uint8Array(sides.reduce((size, side) => size + 4 + side.bytes.length, packed.length));
      const view = new DataView(bytes.buffer);
      let offset = 0;
      for (const side of sides) {
        view.setUint32(offset, side.bytes.length, true);
        bytes.set(side.bytes, offset + 4);
        offset += 4 + side.bytes.length;
      }
      bytes.set(packed, offset);
      return { tokens: x.rows, bytes, saturated: sides.reduce((sum, side) => sum + (side.saturated ?? 0), 0), clamped: 0 };
    },
    decode(block, out) {
      const { bytes, tokens } = block;
      if (!Number.isInteger(tokens) || tokens < 1 || tokens > PAGE_TOKENS) throw corrupt(`${id}: tokens`, `1 to ${PAGE_TOKENS}`, tokens);
      checkOut(out, tokens, columns);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      let offset = 0;
      const sides = stages.map(() => {
        const start = offset + 4;
        const end = start <= bytes.length ? start + view.getUint32(offset, true) : Number.POSITIVE_INFINITY;
        if (end > bytes.length) throw corrupt(id, `${end} bytes`, bytes.length);
        offset = end;
        return bytes.subarray(start, end);
      });
      coder.decode(packing.unpack(bytes.subarray(offset), tokens * columns), out.data, coderParameters);
      for (let index = stages.length - 1; index >= 0; index--) stages[index]!.inverse(out, sides[index]!, parameters[index]!);
    },
  };
}

function select(artifact: QuantizerArtifact, prefix: string): Parameters {
  const entries = Object.entries(artifact.arrays).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(entries.map(([name, array]) => [name.slice(prefix.length), array]));
}
