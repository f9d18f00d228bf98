import type { BlockCodec } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { measureLayer } from "./run-layers.js";

/** Keeps every value times `gain`. */
function scaling(gain: number): BlockCodec {
  return {
    encode: (x) => ({ tokens: x.rows, bytes: new Uint8Array(Float32Array.from(x.data, (value) => value * gain).buffer), saturated: 0, clamped: 0 }),
    decode: (block, out) => out.data.set(new Float32Array(block.bytes.buffer)),
  };
}

describe("measureLayer", () => {
  const rows = 140;
  const matrix = { data: Float32Array.from({ length: rows * 2 }, (_, index) => Math.sin(index)), rows, cols: 2 };

  it("is the squared relative error of what the codec gives back", () => {
    const { key, value } = measureLayer({ key: scaling(0.5), value: scaling(1), keyFrame: "pre-rope" }, { k: matrix, v: matrix }, 1);
    expect(key).toBeCloseTo(0.25, 12);
    expect(value).toBe(0);
  });

  it("leaves out sinks and what fills no page", () => {
    // 140 tokens, 5 sinks: pages at 5 to 68 and 69 to 132. Elsewhere the error would be infinite.
    const poisoned = matrix.data.map((value, index) => (index < 10 || index >= 266 ? NaN : value));
    const { value } = measureLayer({ key: scaling(1), value: scaling(0.9), keyFrame: "pre-rope" }, { k: matrix, v: { ...matrix, data: poisoned } }, 5);
    expect(value).toBeCloseTo(0.01, 6);
  });

  it("does not measure keys quantized after RoPE", () => {
    expect(measureLayer({ key: scaling(0.5), value: scaling(1), keyFrame: "post-rope" }, { k: matrix, v: matrix }, 1).key).toBeUndefined();
  });
});
