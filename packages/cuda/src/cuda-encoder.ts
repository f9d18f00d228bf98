/** Pages encoded on the device: the bytes of the CPU's codecs. */

import { keyCodecOptions, valueCodecOptions } from "@kvquant/cpu";
import { KvquantError, PAGE_TOKENS, awaitNative, callNative, check, checkFinite, checkInteger, checkLength } from "@kvquant/spec";
import type { EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { CudaKernels } from "./cuda-kernels.js";
import { explainCudaCodec } from "./explain-cuda.js";

/** Encodes pages of one layer and side, many at once. Pure: the same rows give the same bytes, which are those of `BlockCodec.encode`. */
export interface CudaEncoder {
  /**
   * Encodes pages `[1 to 64, kvHeads * headDim]` each, keys before RoPE.
   * @throws INVALID_ARGUMENT for a wrong shape, NaN or infinity, OUT_OF_CAPACITY, DISPOSED
   */
  encode(pages: readonly Matrix[]): Promise<EncodedBlock[]>;
}

/** Opens a fitted quantizer for encoding. @throws UNSUPPORTED when no kernel exists for it; CORRUPT_DATA for missing arrays; OUT_OF_CAPACITY, DISPOSED */
export function createCudaEncoder(kernels: CudaKernels, artifact: QuantizerArtifact): CudaEncoder {
  const reason = explainCudaCodec(artifact);
  if (reason !== undefined) throw new KvquantError("UNSUPPORTED", `createCudaEncoder: ${reason}`);
  const isKey = artifact.id.endsWith("-keys");
  const handle = callNative(() => new (loadAddon().Encoder)(kernels.handle, isKey ? { key: keyCodecOptions(artifact) } : { value: valueCodecOptions(artifact) }), artifact.id);
  const [kvHeads = 0, headDim = 0] = artifact.arrays.geometry!;
  const columns = kvHeads * headDim;
  return {
    async encode(pages) {
      pages.forEach((page, index) => {
        const name = `encode: page ${index}`;
        checkInteger(`${name} tokens`, page.rows, { minimum: 1, maximum: PAGE_TOKENS });
        check(page.cols === columns, `${name} columns`, `${columns} (kvHeads * headDim)`, page.cols);
        checkLength(`${name} data`, page.data, page.rows * columns);
        checkFinite(name, page.data);
      });
      const encoded = await awaitNative(async () => handle.encode(pages.map(({ data, rows }) => ({ data, tokens: rows }))), artifact.id);
      return encoded.map((block, index) => ({ tokens: pages[index]!.rows, ...block }));
    },
  };
}
