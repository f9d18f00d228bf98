/** Identifies what a cache does: what was fitted, and what the code at hand makes of it. */

import { createRandom } from "@kvquant/model";
import { openArtifact } from "@kvquant/quant";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec } from "@kvquant/spec";
import type { EvaluatedCache } from "../evaluated-cache.js";
import { hashPlainData } from "./hash-plain-data.js";

/**
 * SHA-256 of an artifact's content and of a fixed page of random numbers through each of its codecs, encoded and decoded, so that results
 * of a quantizer are not taken for those of another version of its code. `fp16` for the exact cache.
 * @throws UNSUPPORTED for a quantizer that is neither built in nor given
 */
export function identifyArtifact({ artifact, quantizers }: EvaluatedCache): string {
  if (artifact === "fp16") return artifact;
  const behaviour = openArtifact(artifact, quantizers).map(({ key, value }) => {
    const cols = artifact.shape.kvHeads * artifact.shape.headDim;
    return [probe(key, cols), probe(value, cols)];
  });
  return hashPlainData([artifact, behaviour]);
}

function probe(codec: BlockCodec, cols: number): readonly [Uint8Array, Float32Array] {
  const random = createRandom(1);
  // Sums of uniform numbers: most are small, as activations are.
  const data = Float32Array.from({ length: PAGE_TOKENS * cols }, () => 2 * (random() + random() + random() + random() - 2));
  const block = codec.encode({ data, rows: PAGE_TOKENS, cols });
  const decoded = { data: new Float32Array(data.length), rows: PAGE_TOKENS, cols };
  codec.decode(block, decoded);
  return [block.bytes, decoded.data];
}
