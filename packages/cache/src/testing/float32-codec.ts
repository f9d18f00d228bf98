/** A codec for tests: lossless float32 bytes plus a constant, so that a result shows which tokens were read compressed. */

import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix } from "@kvquant/spec";

/** A codec that remembers every block it made. */
export interface Float32Codec extends BlockCodec {
  /** In order of encoding; their bytes may be changed to see what reads them. */
  readonly encoded: EncodedBlock[];
  /** How often a block was decoded. */
  readonly decodes: () => number;
}

/** Stores 4 bytes a value; decoding adds `offset`. Blocks claim `saturated` and `clamped` counts of 1 and 2 for accounting tests. */
export function float32Codec(offset = 0): Float32Codec {
  const encoded: EncodedBlock[] = [];
  let decodes = 0;
  return {
    encoded,
    decodes: () => decodes,
    encode(x: Matrix): EncodedBlock {
      const block = { tokens: x.rows, bytes: new Uint8Array(x.data.slice().buffer), saturated: 1, clamped: 2 };
      encoded.push(block);
      return block;
    },
    decode(block: EncodedBlock, out: Matrix): void {
      if (block.bytes.length !== 4 * out.rows * out.cols) {
        throw new KvquantError("CORRUPT_DATA", `float32 codec: expected ${4 * out.rows * out.cols} bytes, got ${block.bytes.length}`);
      }
      decodes++;
      const values = new Float32Array(block.bytes.slice().buffer);
      for (let index = 0; index < values.length; index++) out.data[index] = values[index]! + offset;
    },
  };
}
