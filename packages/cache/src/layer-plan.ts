/** How one layer of a cache is compressed. */

import { check, checkInteger } from "@kvquant/spec";
import type { BlockCodec } from "@kvquant/spec";

/** Codecs of one layer; a layer that stays exact is the word `"fp16"` instead. */
export interface LayerPlan {
  readonly key: BlockCodec;
  readonly value: BlockCodec;
  /** `pre-rope`: keys are encoded as projected and rotated after decoding. `post-rope`: rotated at their absolute positions before encoding. */
  readonly keyFrame: "pre-rope" | "post-rope";
  /** Bytes of the layer's static tables (levels, scales, thresholds), counted in `CacheBytes.tables`. Default 0. */
  readonly tableBytes?: number;
  /** What to call the layer's recipe in reports. */
  readonly label?: string;
}

/** Throws INVALID_ARGUMENT unless `plan` has two codecs, a known key frame and a table size. */
export function checkLayerPlan(what: string, plan: LayerPlan): void {
  check(typeof plan === "object" && plan !== null, what, 'a layer plan or "fp16"', plan);
  for (const side of ["key", "value"] as const) {
    const codec = plan[side];
    check(typeof codec?.encode === "function" && typeof codec.decode === "function", `${what}.${side}`, "a codec with encode and decode", codec);
  }
  check(plan.keyFrame === "pre-rope" || plan.keyFrame === "post-rope", `${what}.keyFrame`, "pre-rope or post-rope", plan.keyFrame);
  if (plan.tableBytes !== undefined) checkInteger(`${what}.tableBytes`, plan.tableBytes, { minimum: 0 });
}
