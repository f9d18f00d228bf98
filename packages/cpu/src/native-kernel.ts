/** The attention kernel for caches of any quantizer: staged keys and values in fp32, native products. */

import { awaitNative } from "@kvquant/spec";
import type { AttentionKernel } from "@kvquant/spec";

import { chooseIsa, isaNumber } from "./isa.js";
import type { Isa } from "./isa.js";
import type { NativeThreads } from "./native-threads.js";

/** Makes the kernel; fp32 products and an online softmax, head dims that are multiples of 8. Its id is `native-<isa>`. */
export function createNativeKernel(threads: NativeThreads, options: { readonly isa?: Isa } = {}): AttentionKernel {
  const isa = chooseIsa(options.isa);
  return {
    specVersion: 1,
    id: `native-${isa}`,
    attend: ({ q, k, v, group, queries, keys, headDim, scale, out }) => awaitNative(() => threads.handle.attendTile({ isa: isaNumber(isa), q, k, v, group, queries, keys, headDim, scale, out })),
  };
}
