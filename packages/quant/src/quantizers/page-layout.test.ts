import { linear } from "@kvquant/packing";
import { decodePageOutliers } from "@kvquant/sparse";
import type { BlockCodec } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { crc32 } from "../artifact/crc32.js";
import { channelOfCode } from "../geometry.js";
import { makeMatrix, makePage, makeStatistics } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { goldenPage, roundTrip, ruledCodec } from "./fixtures/ruled-codec.js";

describe("golden blocks", () => {
  // [name, codec, CRC-32 of a full page's bytes, CRC-32 of a page of 37 tokens]; made by this code and frozen: a change of these bytes is a change of format.
  const golden: [string, BlockCodec, string, string][] = [
    ["channel keys, 3 bits", ruledCodec("channel", 3), "f21b3a15", "66d8b7ec"],
    ["channel keys, 4 bits, outliers, feedback", ruledCodec("channel", 4, { outliers: true, feedback: true }), "b4327313", "86b24715"],
    ["page keys, 2 bits, feedback", ruledCodec("page", 2, { feedback: true }), "99bc11cd", "1a824040"],
    ["page keys, 3 bits", ruledCodec("page", 3), "68784f5a", "8eaa2143"],
    ["token values, 3 bits", ruledCodec("token", 3), "9fdcb2a8", "40eea52b"],
    ["token values, 4 bits, outliers", ruledCodec("token", 4, { outliers: true }), "26c616e7", "4e20c29b"],
    ["rotated values, 3 bits", ruledCodec("rotated", 3), "3584ec5f", "b4557083"],
    ["rotated values, 2 bits", ruledCodec("rotated", 2), "b25214b6", "57241ef2"],
  ];
  for (const [name, codec, full, partial] of golden) {
    it(`${name} stay what they were`, () => {
      expect([64, 37].map((rows) => crc32(codec.encode(goldenPage(rows)).bytes).toString(16))).toEqual([full, partial]);
    });
  }
});

describe("block layout", () => {
  it("is what the drawing says: codes and side data of every head, the tokens' numbers, the outliers of every head", () => {
    const x = goldenPage(64);
    const codes = (2 * 64 * 32 * 3) / 8;
    expect(ruledCodec("channel", 3).encode(x).bytes.length).toBe(codes);
    expect(ruledCodec("page", 3).encode(x).bytes.length).toBe(codes + 2 * 64);
    expect(ruledCodec("token", 3).encode(x).bytes.length).toBe(codes + 2 * 128);
    expect(ruledCodec("rotated", 3).encode(x).bytes.length).toBe(codes + 128);
    const outliers = ruledCodec("token", 3, { outliers: true }).encode(x).bytes.length;
    // 2 outliers a token: 3 bytes each, 32 bytes of counts a head, up to 3 bytes of padding a head.
    expect(outliers - (codes + 2 * 128 + 2 * 32 + 64 * 2 * 3)).toBeGreaterThanOrEqual(0);
    expect(outliers - (codes + 2 * 128 + 2 * 32 + 64 * 2 * 3)).toBeLessThan(8);
    expect(x.cols).toBe(64);
  });

  it("places the outliers last, so that what comes before them lies where it does without", () => {
    const x = goldenPage(64);
    const withOutliers = ruledCodec("channel", 3, { outliers: true }).encode(x).bytes;
    const without = ruledCodec("channel", 3).encode(x).bytes;
    expect(withOutliers.subarray(0, without.length)).toEqual(without);
    const first = decodePageOutliers(withOutliers, without.length);
    const second = decodePageOutliers(withOutliers, without.length + first.byteLength);
    expect(first.entries.indices.length).toBeGreaterThan(0);
    expect(without.length + first.byteLength + second.byteLength).toBe(withOutliers.length);
  });

  it("has zeros for the numbers of missing tokens, and refuses others", () => {
    for (const codec of [ruledCodec("token", 3), ruledCodec("rotated", 3)]) {
      const block = codec.encode(goldenPage(37));
      const bytes = block.bytes.slice();
      bytes[bytes.length - 2 * 27]! ^= 1;
      expect(() => codec.decode({ ...block, bytes }, makeMatrix(37, 64, () => 0))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });

  it("packs key codes in the order of RoPE pairs, plain bits where the head dim has no lanes", () => {
    const geometry = { kvHeads: 1, headDim: 24, rotaryDim: 16 };
    expect([...channelOfCode(geometry)].slice(0, 6)).toEqual([0, 8, 1, 9, 2, 10]);
    expect([...channelOfCode(geometry)].slice(15)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23]);
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 24 };
    const statistics = makeStatistics({ shape, rotaryDim: 16, tokens: 300 }).layers[0]!;
    const quantizer = channelKeys({ bits: 3, levels: "uniform" });
    const artifact = quantizer.fit(statistics);
    expect(artifact.packing).toBe("linear-3");
    const { k } = makePage(shape);
    const codes = linear(3).unpack(quantizer.open(artifact).encode(k).bytes, 64 * 24);
    const decoded = roundTrip(quantizer.open(artifact), k);
    const { scale, zero, levels } = artifact.arrays as Record<string, Float32Array>;
    const channels = channelOfCode(geometry);
    for (let token = 0; token < 64; token++) {
      for (let code = 0; code < 24; code++) {
        const channel = channels[code]!;
        expect(decoded[token * 24 + channel]).toBe(Math.fround(Math.fround(levels![codes[token * 24 + code]!]! * scale![channel]!) + zero![channel]!));
      }
    }
  });
});
