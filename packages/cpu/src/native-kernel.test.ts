import { describe, it } from "vitest";

import { attentionKernelCases } from "@kvquant/cache/testing";

import { backendInfo } from "./backend-info.js";
import { createNativeKernel } from "./native-kernel.js";
import { createThreads } from "./native-threads.js";

const { available, isas } = backendInfo();

describe.skipIf(!available)("the native attention kernel", () => {
  for (const isa of isas) {
    for (const { title, run } of attentionKernelCases()) it(`${title}, ${isa}`, () => run(createNativeKernel(createThreads(2), { isa })));
  }
});
