/** What an artifact's codecs make of one fixed page of noise: bytes that tell codecs apart, and sizes until real pages were seen. */

import { openArtifact } from "@kvquant/quant";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { EncodedBlock } from "@kvquant/spec";

/** Blocks of a full page of one layer. */
export interface ProbePage {
  readonly key: EncodedBlock;
  readonly value: EncodedBlock;
}

/** Encodes the page in every layer; some hundred milliseconds for a model of 30 layers. */
export function encodeProbePages(artifact: KvqArtifact, quantizers: readonly Quantizer[] | undefined): ProbePage[] {
  const cols = artifact.shape.kvHeads * artifact.shape.headDim;
  const page = { data: Float32Array.from({ length: PAGE_TOKENS * cols }, (_, index) => Math.sin(index * index)), rows: PAGE_TOKENS, cols };
  return openArtifact(artifact, quantizers).map(({ key, value }) => ({ key: key.encode(page), value: value.encode(page) }));
}
