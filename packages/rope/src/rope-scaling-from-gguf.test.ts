import { describe, expect, test } from "vitest";
import { codeOf } from "./fixtures/code-of.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import { ropeScalingFromGguf } from "./rope-scaling-from-gguf.js";

const yarn = { "qwen2.rope.scaling.type": "yarn", "qwen2.rope.scaling.factor": 4, "qwen2.rope.scaling.original_context_length": 32768 };

describe("ropeScalingFromGguf", () => {
  test("no metadata, a factor of 1 or 0, and type none mean no scaling", () => {
    expect(ropeScalingFromGguf({}, "llama")).toEqual({ type: "none" });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": 1 }, "llama")).toEqual({ type: "none" });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": 0 }, "llama")).toEqual({ type: "none" });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 8 }, "llama")).toEqual({ type: "none" });
  });

  test("a factor without a type is linear, under its old key too; keys of another architecture do not count", () => {
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": 8 }, "llama")).toEqual({ type: "linear", factor: 8 });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 8 }, "llama")).toEqual({ type: "linear", factor: 8 });
    expect(ropeScalingFromGguf({ "llama.rope.scale_linear": 2 }, "llama")).toEqual({ type: "linear", factor: 2 });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": 8 }, "qwen2")).toEqual({ type: "none" });
  });

  test("a rope_freqs tensor gives factors, multiplied by a linear factor", () => {
    expect(ropeScalingFromGguf({}, "llama", Float32Array.of(1, 1, 8))).toEqual({ type: "factors", factors: [1, 1, 8] });
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": 2 }, "llama", Float32Array.of(1, 1, 8))).toEqual({ type: "factors", factors: [2, 2, 16] });
  });

  test("yarn takes its numbers from the metadata, and its attention factor is Hugging Face's", () => {
    const scaling = ropeScalingFromGguf(yarn, "qwen2");
    expect(scaling).toEqual({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 32768, betaFast: 32, betaSlow: 1, attentionFactor: 1 + 0.1 * Math.log(4) });
    const sizes = { headDim: 128, rotaryDim: 128, base: 1e6 };
    const huggingFace = ropeFrequencies({ ...sizes, scaling: { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 32768 } });
    expect(ropeFrequencies({ ...sizes, scaling })).toEqual(huggingFace);
    const metadata = { ...yarn, "qwen2.rope.scaling.yarn_beta_fast": 16, "qwen2.rope.scaling.yarn_beta_slow": 2, "qwen2.rope.scaling.attn_factor": 0.5, "qwen2.rope.scaling.yarn_attn_factor": 3 };
    expect(ropeScalingFromGguf({ ...yarn, "qwen2.rope.scaling.factor": 0.5 }, "qwen2")).toMatchObject({ factor: 0.5, attentionFactor: 1 });
    expect(ropeScalingFromGguf(metadata, "qwen2")).toMatchObject({ betaFast: 16, betaSlow: 2, attentionFactor: 0.5 * (1 + 0.1 * Math.log(4)) });
  });

  test("yarn falls back to the context length, and reads 64-bit integers", () => {
    const metadata = { "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2, "llama.context_length": 8192n };
    expect(ropeScalingFromGguf(metadata, "llama")).toMatchObject({ originalMaxPositionEmbeddings: 8192 });
    expect(() => ropeScalingFromGguf({ "llama.rope.scaling.type": "yarn" }, "llama")).toThrow(/llama\.rope\.scaling\.original_context_length/);
  });

  test("mistral3's log multiplier of 1 cancels the attention factor; other architectures' is UNSUPPORTED", () => {
    const metadata = (architecture: string) => ({
      [`${architecture}.rope.scaling.type`]: "yarn",
      [`${architecture}.rope.scaling.factor`]: 48,
      [`${architecture}.rope.scaling.original_context_length`]: 8192,
      [`${architecture}.rope.scaling.yarn_log_multiplier`]: 1,
    });
    expect(ropeScalingFromGguf(metadata("mistral3"), "mistral3")).toMatchObject({ attentionFactor: 1 });
    expect(codeOf(() => ropeScalingFromGguf(metadata("deepseek2"), "deepseek2"))).toBe("UNSUPPORTED");
  });

  test("longrope takes short and long tensors", () => {
    const metadata = { "phi3.rope.scaling.type": "longrope", "phi3.rope.scaling.original_context_length": 4096, "phi3.rope.scaling.attn_factor": 1.19 };
    const tensors = { short: Float32Array.of(1, 1), long: Float32Array.of(2, 4) };
    expect(ropeScalingFromGguf(metadata, "phi3", tensors)).toEqual({ type: "longrope", factor: 1, shortFactor: [1, 1], longFactor: [2, 4], originalMaxPositionEmbeddings: 4096, attentionFactor: 1.19 });
    expect(codeOf(() => ropeScalingFromGguf(metadata, "phi3"))).toBe("INVALID_ARGUMENT");
  });

  test("what no rule here has is UNSUPPORTED, and wrong types are INVALID_ARGUMENT", () => {
    expect(() => ropeScalingFromGguf({ "llama.rope.scaling.type": "cubic" }, "llama")).toThrow(/none, linear, yarn, longrope; got "cubic"/);
    expect(codeOf(() => ropeScalingFromGguf({ "llama.rope.scaling.type": "cubic" }, "llama"))).toBe("UNSUPPORTED");
    expect(codeOf(() => ropeScalingFromGguf({ ...yarn, "qwen2.rope.scaling.yarn_ext_factor": 0.5 }, "qwen2"))).toBe("UNSUPPORTED");
    expect(codeOf(() => ropeScalingFromGguf(yarn, "qwen2", Float32Array.of(1)))).toBe("UNSUPPORTED");
    expect(codeOf(() => ropeScalingFromGguf({ "llama.rope.scaling.attn_factor": 2 }, "llama"))).toBe("UNSUPPORTED");
    expect(codeOf(() => ropeScalingFromGguf({ "llama.rope.scaling.factor": "8" }, "llama"))).toBe("INVALID_ARGUMENT");
  });

  test("a log multiplier divides the attention factor by its own gain, and none or 0 does not", () => {
    const metadata = (multiplier: number | undefined) => ({
      "mistral3.rope.scaling.type": "yarn",
      "mistral3.rope.scaling.factor": 48,
      "mistral3.rope.scaling.original_context_length": 8192,
      ...(multiplier !== undefined && { "mistral3.rope.scaling.yarn_log_multiplier": multiplier }),
    });
    const gain = (mscale: number): number => 1 + 0.1 * mscale * Math.log(48);
    const attention = (multiplier?: number): number => (ropeScalingFromGguf(metadata(multiplier), "mistral3") as { attentionFactor: number }).attentionFactor;
    expect(attention(0.5)).toBeCloseTo(gain(1) / gain(0.5), 14);
    expect([attention(), attention(0)]).toEqual([gain(1), gain(1)]);
    expect(ropeScalingFromGguf({ ...metadata(0.5), "mistral3.rope.scaling.factor": 1 }, "mistral3")).toMatchObject({ factor: 1, attentionFactor: 1 });
  });

  test("an extrapolation factor of 1, or a negative one, which means the default, is yarn's own; 0 and others are UNSUPPORTED", () => {
    const scaling = ropeScalingFromGguf(yarn, "qwen2");
    for (const extrapolation of [1, -1, -0.5]) expect(ropeScalingFromGguf({ ...yarn, "qwen2.rope.scaling.yarn_ext_factor": extrapolation }, "qwen2")).toEqual(scaling);
    for (const extrapolation of [0, 2]) expect(codeOf(() => ropeScalingFromGguf({ ...yarn, "qwen2.rope.scaling.yarn_ext_factor": extrapolation }, "qwen2"))).toBe("UNSUPPORTED");
  });

  test("an attention factor without yarn or longrope is UNSUPPORTED, 1 is none", () => {
    expect(codeOf(() => ropeScalingFromGguf({ "llama.rope.scaling.type": "none", "llama.rope.scaling.attn_factor": 2 }, "llama"))).toBe("UNSUPPORTED");
    expect(ropeScalingFromGguf({ "llama.rope.scaling.attn_factor": 1 }, "llama")).toEqual({ type: "none" });
    expect(ropeScalingFromGguf({ "phi3.rope.scaling.type": "longrope", "phi3.context_length": 8 }, "phi3", { short: Float32Array.of(1), long: Float32Array.of(2) })).toMatchObject({ attentionFactor: 1, originalMaxPositionEmbeddings: 8 });
  });

  test("tensors of another rule are INVALID_ARGUMENT, and values that are null are absent", () => {
    const pair = { short: Float32Array.of(1), long: Float32Array.of(2) };
    expect(() => ropeScalingFromGguf({}, "llama", pair)).toThrow(/rope factors: expected one rope_freqs tensor without longrope, got short and long ones/);
    expect(() => ropeScalingFromGguf({ "phi3.rope.scaling.type": "longrope" }, "phi3", Float32Array.of(1))).toThrow(/got rope_freqs/);
    expect(() => ropeScalingFromGguf({ "phi3.rope.scaling.type": "longrope" }, "phi3")).toThrow(/got none/);
    expect(ropeScalingFromGguf({ "llama.rope.scaling.factor": null }, "llama")).toEqual({ type: "none" });
  });
});
