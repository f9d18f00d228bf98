import type { EncodedBlock } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { parsePreset } from "../preset.js";
import type { Quantizer } from "../quantizer.js";
import { makeMatrix, makeStatistics } from "../testing/index.js";

describe("finite pages whose sums are not", () => {
  it("are refused, or encoded to blocks that decode: never to a block that no reader takes", () => {
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 64 };
    const statistics = makeStatistics({ shape, tokens: 200, windows: 1 }).layers[0]!;
    const pages = [makeMatrix(64, 64, (row, col) => ((row + col) % 2 === 0 ? 3e38 : -3e38)), makeMatrix(64, 64, () => 3e38), makeMatrix(64, 64, (row, col) => (row === 3 && col === 5 ? 3e38 : 0.1))];
    let refused = 0;
    for (const name of ["nuq3", "nuq3-1%+fb", "kvq3", "keys-token-post", "int4-token", "q4_0+rot", "q5_1+rot", "turbo3", "kvarn3"]) {
      for (const quantizer of Object.values(parsePreset(name)).filter((part): part is Quantizer => typeof part === "object")) {
        const codec = quantizer.open(quantizer.fit(statistics));
        for (const page of pages) {
          let block: EncodedBlock;
          try {
            block = codec.encode(page);
          } catch (error) {
            expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/within fp32.*scale them down/) as string });
            refused++;
            continue;
          }
          const out = makeMatrix(64, 64, () => Number.NaN);
          codec.decode(block, out);
          expect(out.data.every(Number.isFinite)).toBe(true);
        }
      }
    }
    expect(refused).toBeGreaterThan(0);
  });
});
