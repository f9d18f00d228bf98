import { describe, expect, it } from "vitest";

import type { AttentionBlock, AttentionKernel } from "@kvquant/spec";

import { attentionKernelCases } from "./testing/index.js";
import { typescriptKernel } from "./typescript-kernel.js";

describe("typescriptKernel", () => {
  for (const { title, run } of attentionKernelCases()) {
    it(title, () => run(typescriptKernel));
  }
});

describe("attentionKernelCases", () => {
  const faults: Record<string, (block: AttentionBlock) => void | Promise<void>> = {
    "does nothing": () => {},
    "ignores the mask": (block) => {
      for (let row = 0; row < block.group * block.queries; row++) {
        const one = { ...block, group: 1, queries: 1, q: rowOf(block.q, row, block.headDim), out: rowOf(block.out, row, block.headDim) };
        void typescriptKernel.attend(one);
      }
    },
    "swaps heads and queries": (block) => typescriptKernel.attend({ ...block, group: block.queries, queries: block.group }),
    "forgets the scale": (block) => typescriptKernel.attend({ ...block, scale: 1 }),
    "scales its operands in place": (block) => {
      for (let i = 0; i < block.q.length; i++) block.q[i] = block.q[i]! * block.scale;
      return typescriptKernel.attend({ ...block, scale: 1 });
    },
    "reads the whole buffer of a view": (block) => typescriptKernel.attend({ ...block, k: new Float32Array(block.k.buffer) }),
  };
  for (const [fault, attend] of Object.entries(faults)) {
    it(`rejects a kernel that ${fault}`, async () => {
      expect(await firstFailure({ specVersion: 1, id: "faulty", attend })).toMatch(/^attention kernel faulty: /);
    });
  }
});

async function firstFailure(kernel: AttentionKernel): Promise<string | undefined> {
  for (const { run } of attentionKernelCases()) {
    const failure = await run(kernel).then(() => undefined, (error: Error) => error.message);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

function rowOf(x: Float32Array, row: number, headDim: number): Float32Array {
  return x.subarray(row * headDim, (row + 1) * headDim);
}
