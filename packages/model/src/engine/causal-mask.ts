/** Additive causal masks for runs of queries at the end of the keys. */

import { floatTensor } from "./session.js";
import type { FloatTensor } from "./session.js";

const HIDDEN = -1e30;
const KEPT_MASKS = 48;

/** Makes and keeps masks `[queries, keys]`: query i sees keys 0 .. keys - queries + i. */
export class CausalMasks {
  readonly #masks = new Map<string, FloatTensor>();
  #zeros = new Float32Array(0);

  /** The mask for one shape; the tensor is shared, never written by callers. */
  get(queries: number, keys: number): FloatTensor {
    if (queries === 1) return this.#allVisible(keys);
    const name = `${queries}x${keys}`;
    const known = this.#masks.get(name);
    if (known !== undefined) return known;
    const mask = new Float32Array(queries * keys);
    for (let query = 0; query < queries; query++) mask.fill(HIDDEN, query * keys + keys - queries + query + 1, (query + 1) * keys);
    const tensor = floatTensor(mask, [queries, keys]);
    if (this.#masks.size >= KEPT_MASKS) this.#masks.delete(this.#masks.keys().next().value!);
    this.#masks.set(name, tensor);
    return tensor;
  }

  #allVisible(keys: number): FloatTensor {
    if (this.#zeros.length < keys) this.#zeros = new Float32Array(keys * 2);
    return floatTensor(this.#zeros.subarray(0, keys), [1, keys]);
  }
}
