// Computed in Node and in chromium.
import { applyRope, createRope, halfToInterleaved, ropeConfigFromHuggingFace, ropeFrequencies } from "@kvquant/rope";

export default function compute() {
  const models = [
    { hidden_size: 256, num_attention_heads: 4, rope_theta: 10_000 },
    { hidden_size: 256, num_attention_heads: 4, rope_theta: 500_000, rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 } },
    { hidden_size: 256, num_attention_heads: 4, rope_theta: 10_000, max_position_embeddings: 4096, rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 1024 } },
  ];
  return models.map((model) => {
    const config = ropeConfigFromHuggingFace(model);
    const table = createRope(config).tables(1000, 4, 1004);
    const keys = Float32Array.from({ length: 4 * 64 }, (_, index) => (index % 17) - 8);
    const options = /** @type {const} */ ({ rows: 4, heads: 1, headDim: 64, rotaryDim: config.rotaryDim, pairing: "half" });
    applyRope(keys, table, options);
    const rotated = keys.slice();
    applyRope(keys, table, { ...options, inverse: true });
    return { frequencies: ropeFrequencies(config, 1004), rotated, back: keys.map(Math.round), permuted: halfToInterleaved(64, 64) };
  });
}
