import { describe, expect, test } from "vitest";
import { codeOf } from "./fixtures/code-of.js";
import { ropeConfigFromHuggingFace, ropeScalingFromHuggingFace } from "./rope-scaling-from-hugging-face.js";

describe("ropeScalingFromHuggingFace", () => {
  test("no dictionary, null, and type default mean no scaling", () => {
    for (const config of [{}, { rope_scaling: null }, { rope_scaling: {} }, { rope_parameters: { rope_type: "default", rope_theta: 5e5 } }]) {
      expect(ropeScalingFromHuggingFace(config)).toEqual({ type: "none" });
    }
  });

  test("old key `type` and new key `rope_type` are read, from rope_scaling, rope_parameters or the dictionary itself", () => {
    const linear = { type: "linear", factor: 4 };
    expect(ropeScalingFromHuggingFace({ rope_scaling: { type: "linear", factor: 4 } })).toEqual(linear);
    expect(ropeScalingFromHuggingFace({ rope_scaling: { rope_type: "linear", factor: 4 } })).toEqual(linear);
    expect(ropeScalingFromHuggingFace({ rope_parameters: { rope_type: "linear", factor: 4, rope_theta: 1e6 } })).toEqual(linear);
    expect(ropeScalingFromHuggingFace({ rope_type: "linear", factor: 4 })).toEqual(linear);
    expect(ropeScalingFromHuggingFace({ type: "linear", factor: 4 })).toEqual(linear);
  });

  test("Llama 3.1's config.json is read", () => {
    const config = {
      rope_scaling: { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings: 8192, rope_type: "llama3" },
      rope_theta: 500000.0,
      hidden_size: 4096,
      num_attention_heads: 32,
      max_position_embeddings: 131072,
    };
    const scaling = { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8192 };
    expect(ropeConfigFromHuggingFace(config)).toEqual({ headDim: 128, rotaryDim: 128, base: 500000, scaling });
  });

  test("dynamic takes its original length from the model", () => {
    expect(ropeScalingFromHuggingFace({ rope_scaling: { type: "dynamic", factor: 2 }, max_position_embeddings: 4096 })).toEqual({ type: "dynamic", factor: 2, maxPositionEmbeddings: 4096 });
  });

  test("yarn keeps what is given and leaves out what is not", () => {
    expect(ropeScalingFromHuggingFace({ rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32768 } })).toEqual({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 32768 });
    const full = { type: "yarn", factor: 40, beta_fast: 32, beta_slow: 1, mscale: 0.707, mscale_all_dim: 0.707, attention_factor: null, truncate: false };
    expect(ropeScalingFromHuggingFace({ rope_scaling: full, max_position_embeddings: 4096 })).toEqual({
      type: "yarn",
      factor: 40,
      originalMaxPositionEmbeddings: 4096,
      betaFast: 32,
      betaSlow: 1,
      mscale: 0.707,
      mscaleAllDim: 0.707,
      truncate: false,
    });
    expect(ropeScalingFromHuggingFace({ rope_scaling: { type: "yarn", factor: null, original_max_position_embeddings: 4096 }, max_position_embeddings: 65536 })).toMatchObject({ factor: 16 });
  });

  test("longrope, also under its old name su, takes original length and factor as Phi-3 gives them", () => {
    const config = { rope_scaling: { type: "su", short_factor: [1, 1.5], long_factor: [2, 3] }, max_position_embeddings: 131072, original_max_position_embeddings: 4096, head_dim: 4 };
    const scaling = { type: "longrope", factor: 32, shortFactor: [1, 1.5], longFactor: [2, 3], originalMaxPositionEmbeddings: 4096 };
    expect(ropeConfigFromHuggingFace(config)).toEqual({ headDim: 4, rotaryDim: 4, base: 10000, scaling });
  });

  test("rope_theta and partial_rotary_factor inside rope_parameters win over those outside", () => {
    const config = { head_dim: 80, rope_theta: 1, partial_rotary_factor: 1, rope_parameters: { rope_type: "default", rope_theta: 1e6, partial_rotary_factor: 0.4 } };
    expect(ropeConfigFromHuggingFace(config)).toEqual({ headDim: 80, rotaryDim: 32, base: 1e6, scaling: { type: "none" } });
  });

  test("an unknown rule is UNSUPPORTED and the message names those supported", () => {
    const config = { rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] } };
    expect(codeOf(() => ropeScalingFromHuggingFace(config))).toBe("UNSUPPORTED");
    expect(() => ropeScalingFromHuggingFace(config)).toThrow(/default, linear, dynamic, yarn, llama3, longrope.*got "mrope"/);
  });

  test("one dictionary per layer type is UNSUPPORTED", () => {
    const config = { rope_parameters: { full_attention: { rope_type: "default", rope_theta: 1e6 }, sliding_attention: { rope_type: "default" } } };
    expect(codeOf(() => ropeScalingFromHuggingFace(config))).toBe("UNSUPPORTED");
  });

  test("missing and mistyped numbers are INVALID_ARGUMENT and named", () => {
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "linear" } })).toThrow(/factor: expected a number, got undefined/);
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "linear", factor: "4" } })).toThrow(/factor: expected a number, got "4"/);
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "longrope", factor: 2, original_max_position_embeddings: 8, short_factor: 1 } })).toThrow(/short_factor/);
    expect(codeOf(() => ropeScalingFromHuggingFace({ rope_scaling: "linear" }))).toBe("INVALID_ARGUMENT");
    expect(codeOf(() => ropeConfigFromHuggingFace({ hidden_size: 64 }))).toBe("INVALID_ARGUMENT");
  });

  test("an attention factor is kept by yarn and longrope; a truncate that is no boolean is not read", () => {
    const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 8, attention_factor: 1.5, truncate: "no" };
    // Strictly: a key that is there and undefined is not the same as one left out.
    expect(ropeScalingFromHuggingFace({ rope_scaling: yarn })).toStrictEqual({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 8, attentionFactor: 1.5 });
    expect(ropeScalingFromHuggingFace({ rope_type: "linear", factor: 2, text_config: {} })).toEqual({ type: "linear", factor: 2 });
    const longrope = { rope_type: "longrope", factor: 4, original_max_position_embeddings: 8, attention_factor: 1.5, short_factor: [1], long_factor: [2] };
    expect(ropeScalingFromHuggingFace({ rope_scaling: longrope })).toEqual({ type: "longrope", factor: 4, originalMaxPositionEmbeddings: 8, attentionFactor: 1.5, shortFactor: [1], longFactor: [2] });
  });

  test("the original length is the rule's own, else the model's; dynamic and yarn fall back on the other one", () => {
    const both = { max_position_embeddings: 64, original_max_position_embeddings: 16 };
    expect(ropeScalingFromHuggingFace({ ...both, rope_scaling: { type: "yarn", original_max_position_embeddings: 32 } })).toEqual({ type: "yarn", factor: 2, originalMaxPositionEmbeddings: 32 });
    expect(ropeScalingFromHuggingFace({ ...both, rope_scaling: { type: "yarn" } })).toEqual({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 16 });
    expect(ropeScalingFromHuggingFace({ max_position_embeddings: 64, rope_scaling: { type: "yarn", factor: 3 } })).toEqual({ type: "yarn", factor: 3, originalMaxPositionEmbeddings: 64 });
    expect(ropeScalingFromHuggingFace({ ...both, rope_scaling: { type: "dynamic", factor: 2 } })).toMatchObject({ maxPositionEmbeddings: 64 });
    expect(ropeScalingFromHuggingFace({ rope_scaling: { type: "dynamic", factor: 2, original_max_position_embeddings: 16 } })).toMatchObject({ maxPositionEmbeddings: 16 });
    const longrope = { type: "longrope", short_factor: [1], long_factor: [2] };
    expect(ropeScalingFromHuggingFace({ max_position_embeddings: 64, rope_scaling: { ...longrope, factor: 3 } })).toMatchObject({ factor: 3, originalMaxPositionEmbeddings: 64 });
  });

  test("every number a rule needs is asked for by its name", () => {
    const llama3: Record<string, unknown> = { type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    for (const key of ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]) {
      const { [key]: _left, ...rest } = llama3;
      expect(() => ropeScalingFromHuggingFace({ rope_scaling: rest })).toThrow(`rope: ${key}: expected a number, got undefined`);
    }
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "dynamic" } })).toThrow(/factor/);
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "dynamic", factor: 2 } })).toThrow(/max_position_embeddings/);
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "yarn", factor: 2 } })).toThrow(/original_max_position_embeddings/);
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: { type: "longrope", original_max_position_embeddings: 4 } })).toThrow(/max_position_embeddings/);
    const divisors = { type: "longrope", factor: 2, original_max_position_embeddings: 8, short_factor: [1], long_factor: [1] };
    for (const change of [{ short_factor: undefined }, { short_factor: [1, "2"] }, { long_factor: "1" }]) {
      expect(() => ropeScalingFromHuggingFace({ rope_scaling: { ...divisors, ...change } })).toThrow(/_factor: expected an array of numbers/);
    }
    expect(() => ropeScalingFromHuggingFace({ rope_scaling: [] })).toThrow(/rope_scaling: expected an object or null/);
    expect(() => ropeConfigFromHuggingFace({ num_attention_heads: 2 })).toThrow(/hidden_size/);
    expect(() => ropeConfigFromHuggingFace({ head_dim: 63 })).toThrow(/rotaryDim/);
  });

  test("a partial rotary factor outside the dictionary counts, and is rounded down to whole channels", () => {
    expect(ropeConfigFromHuggingFace({ head_dim: 80, partial_rotary_factor: 0.25 })).toEqual({ headDim: 80, rotaryDim: 20, base: 10_000, scaling: { type: "none" } });
    expect(ropeConfigFromHuggingFace({ head_dim: 10, partial_rotary_factor: 0.69 }).rotaryDim).toBe(6);
    expect(ropeConfigFromHuggingFace({ head_dim: 8, rope_theta: 500 }).base).toBe(500);
  });
});
