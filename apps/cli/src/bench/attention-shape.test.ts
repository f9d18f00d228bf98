import { expect, it } from "vitest";
import { chooseAttentionShape, exactBytes } from "./attention-shape.js";

const leastBytes = 64 << 20;
const most = 2 ** 30;

it("caches are far over the processor's caches and fit into memory, from 4K to 512K tokens", () => {
  for (const headDim of [64, 128, 256]) {
    for (const tokens of [4096, 32_768, 131_072, 524_288]) {
      const shape = chooseAttentionShape({ headDim, group: 3, tokens }, leastBytes);
      const bytes = exactBytes(shape, tokens);
      expect(bytes).toBeGreaterThanOrEqual(256 << 20);
      expect((bytes * 2.2) / 16).toBeGreaterThanOrEqual(leastBytes);
      expect(bytes).toBeLessThanOrEqual(most);
      expect(shape.queryHeads).toBe(3 * shape.kvHeads);
    }
  }
});
