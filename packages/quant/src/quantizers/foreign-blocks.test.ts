import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeMatrix } from "../testing/index.js";
import { goldenPage, ruledCodec } from "./fixtures/ruled-codec.js";

describe("blocks from elsewhere", () => {
  it("never decode outside their bytes: random bytes and flipped bytes decode or are refused with CORRUPT_DATA", () => {
    const codecs = [
      ruledCodec("channel", 4, { outliers: true, feedback: true }),
      ruledCodec("token", 4, { outliers: true }),
      ruledCodec("page", 3),
      ruledCodec("rotated", 3),
    ];
    const out = makeMatrix(37, 64, () => 0);
    for (const codec of codecs) {
      const block = codec.encode(goldenPage(37));
      const attempt = (bytes: Uint8Array): void => {
        try {
          codec.decode({ ...block, bytes }, out);
          expect(out.data.every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: "CORRUPT_DATA" });
        }
      };
      fc.assert(
        fc.property(fc.nat(block.bytes.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
          const bytes = block.bytes.slice();
          bytes[place]! ^= change;
          attempt(bytes);
        }),
      );
      fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), attempt), { numRuns: 30 });
    }
  });
});
