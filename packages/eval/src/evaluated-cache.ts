/** A cache as evaluations are given it. */

import type { KvqArtifact, Quantizer } from "@kvquant/quant";

/** A cache to evaluate, under the name reports give it. */
export interface EvaluatedCache {
  readonly name: string;
  readonly artifact: KvqArtifact | "fp16";
  /** Custom quantizers the artifact may name. */
  readonly quantizers?: readonly Quantizer[] | undefined;
}
