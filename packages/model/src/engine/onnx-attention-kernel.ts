/** The attention kernel of the reference engine: matrix products by onnxruntime. */

import type { AttentionBlock, AttentionKernel } from "@kvquant/spec";
import { buildAttentionGraph } from "./attention-graphs.js";
import { CausalMasks } from "./causal-mask.js";
import { createSession, floatTensor } from "./session.js";

/** Creates the kernel for one head dim; fp32 throughout. */
export async function createOnnxAttentionKernel(headDim: number, threads?: number): Promise<AttentionKernel & { dispose(): Promise<void> }> {
  const session = await createSession(buildAttentionGraph(headDim, { columnSums: false }), threads);
  const masks = new CausalMasks();
  return {
    specVersion: 1,
    id: "onnxruntime-fp32",
    async attend(block: AttentionBlock): Promise<void> {
      const { group, queries, keys } = block;
      const size = group * queries * headDim;
      // Not kept from call to call: a run starts later than it is asked for, when another sequence may already be attending.
      const scaled = new Float32Array(size);
      for (let index = 0; index < size; index++) scaled[index] = block.q[index]! * block.scale;
      const inputs = {
        q: floatTensor(scaled, [group, queries, headDim]),
        k: floatTensor(block.k.subarray(0, keys * headDim), [keys, headDim]),
        v: floatTensor(block.v.subarray(0, keys * headDim), [keys, headDim]),
        mask: masks.get(queries, keys),
      };
      await session.run(inputs, { out: floatTensor(block.out.subarray(0, size), [group, queries, headDim]) });
    },
    dispose: () => session.dispose(),
  };
}
