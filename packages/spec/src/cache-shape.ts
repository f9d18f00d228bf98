/** The sizes of a model that a KV cache depends on. */

import { check, checkInteger } from "./check.js";

/** Sizes of an attention cache; the group size G (GQA) is `queryHeads / kvHeads`. */
export interface CacheShape {
  readonly layers: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Throws INVALID_ARGUMENT unless counts are positive, query heads divide into KV heads and the head dim is a multiple of 8. */
export function checkCacheShape(shape: CacheShape): void {
  checkInteger("shape.layers", shape.layers, { minimum: 1 });
  checkInteger("shape.kvHeads", shape.kvHeads, { minimum: 1 });
  checkInteger("shape.queryHeads", shape.queryHeads, { minimum: 1 });
  checkInteger("shape.headDim", shape.headDim, { minimum: 8 });
  check(shape.queryHeads % shape.kvHeads === 0, "shape.queryHeads", `a multiple of kvHeads ${shape.kvHeads}`, shape.queryHeads);
  check(shape.headDim % 8 === 0, "shape.headDim", "a multiple of 8", shape.headDim);
}
