/** Additive causal masks for runs of queries at the end of the keys. */

import { floatTensor } from "./session.js";
import type { FloatTensor } from "./session.js";

const HIDDEN = -1e30;
/** Numbers of all masks kept: 64 MiB, four times those of a window of 2,048. */
const KEPT_NUMBERS = 1 << 24;

/** Makes and keeps masks `[queries, keys]`: query i sees keys 0 .. keys - queries + i. */
export class CausalMasks {
  readonly #masks = new Map<string, FloatTensor>();
  #kept = 0;
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
    this.#keep(name, tensor);
    return tensor;
  }

  /** Keeps a mask in place of the oldest ones. */
  #keep(name: string, mask: FloatTensor): void {
    if (mask.size > KEPT_NUMBERS) return;
    for (const [oldest, { size }] of this.#masks) {
      if (this.#kept + mask.size <= KEPT_NUMBERS) break;
      this.#masks.delete(oldest);
      this.#kept -= size;
    }
    this.#masks.set(name, mask);
    this.#kept += mask.size;
  }

  #allVisible(keys: number): FloatTensor {
    if (this.#zeros.length < keys) this.#zeros = new Float32Array(keys * 2);
    return floatTensor(this.#zeros.subarray(0, keys), [1, keys]);
  }
}
