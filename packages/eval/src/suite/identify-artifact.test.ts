import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import type { BlockCodec } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { identifyArtifact } from "./identify-artifact.js";

const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 };
const fitted = (id: string, gain: number) => ({ id, bits: 8 as const, packing: "none", stages: [], arrays: { gain: Float32Array.of(gain) } });
const artifact = (gain = 1): KvqArtifact => ({ shape, sinkTokens: 1, layers: [{ key: fitted("test/key", gain), value: fitted("test/value", 1) }] }) as unknown as KvqArtifact;

/** Keeps every value times `gain`. */
function codec(gain: number): BlockCodec {
  return {
    encode: (x) => ({ tokens: x.rows, bytes: new Uint8Array(Float32Array.from(x.data, (value) => value * gain).buffer), saturated: 0, clamped: 0 }),
    decode: (block, out) => out.data.set(new Float32Array(block.bytes.buffer)),
  };
}
const quantizers = (gain = 1): readonly Quantizer[] => (["key", "value"] as const).map((side) => ({ specVersion: 1, id: `test/${side}`, side, frame: "pre-rope", open: () => codec(gain) }) as unknown as Quantizer);

describe("identifyArtifact", () => {
  it("is the same for the same content and code", () => {
    expect(identifyArtifact({ name: "a", artifact: artifact(), quantizers: quantizers() })).toBe(identifyArtifact({ name: "b", artifact: artifact(), quantizers: quantizers() }));
    expect(identifyArtifact({ name: "fp16", artifact: "fp16" })).toBe("fp16");
  });

  it("changes with what was fitted, and with code that codes differently", () => {
    const whole = { name: "a", artifact: artifact(), quantizers: quantizers() };
    expect(new Set([whole, { ...whole, artifact: artifact(2) }, { ...whole, quantizers: quantizers(1.001) }].map(identifyArtifact)).size).toBe(3);
  });

  it("refuses a quantizer that nobody gave", () => {
    expect(() => identifyArtifact({ name: "a", artifact: artifact() })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
