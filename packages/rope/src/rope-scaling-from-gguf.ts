/** Reads the rotary scaling rule of a GGUF file. */

import { check, KvquantError } from "@kvquant/spec";
import type { RopeScaling } from "./rope-config.js";

type Metadata = Readonly<Record<string, unknown>>;

/** The `rope_freqs.weight` tensor, or `rope_factors_short.weight` and `rope_factors_long.weight`; each `[rotaryDim / 2]`. */
export type GgufRopeFactors = Float32Array | { readonly short: Float32Array; readonly long: Float32Array };

/**
 * Reads the scaling rule out of GGUF metadata `{architecture}.rope.scaling.*` as llama.cpp does: `type` (default linear), `factor` (or the older `rope.scale_linear`;
 * absent or 0 means 1), `original_context_length` (default `{architecture}.context_length`), `attn_factor`, `yarn_beta_fast`, `yarn_beta_slow`, and
 * `yarn_log_multiplier` of architecture mistral3 (others store it in other units). `yarn_attn_factor` is ignored for yarn there, so it is
 * here. A `rope_freqs` tensor (llama3's rule arrives so) gives type "factors".
 * One difference: longrope changes to its long factors when the sequence, not the allocated context, passes the original length, as Hugging Face does.
 * Source: llama.cpp `src/llama-model.cpp` (load_hparams), `src/llama-context.cpp` (constructor).
 * @throws UNSUPPORTED for another type, or a combination of values no rule here has; INVALID_ARGUMENT for missing or mistyped values
 */
export function ropeScalingFromGguf(metadata: Metadata, architecture: string, ropeFactors?: GgufRopeFactors): RopeScaling {
  const read = (key: string): number | undefined => readNumber(metadata, `${architecture}.${key}`);
  const type = metadata[`${architecture}.rope.scaling.type`] ?? "linear";
  const factor = read("rope.scaling.factor") || read("rope.scale_linear") || 1;
  const attention = read("rope.scaling.attn_factor") ?? 1;
  switch (type) {
    case "none":
    case "linear":
      if (attention !== 1) throw new KvquantError("UNSUPPORTED", `${architecture}.rope.scaling.attn_factor: supported with yarn and longrope; got ${attention} with ${type}`);
      return withFactors(type === "none" ? 1 : factor, ropeFactors);
    case "yarn": {
      const extrapolation = read("rope.scaling.yarn_ext_factor") ?? -1;
      if (extrapolation >= 0 && extrapolation !== 1) throw new KvquantError("UNSUPPORTED", `${architecture}.rope.scaling.yarn_ext_factor: supported is 1; got ${extrapolation}`);
      const logMultiplier = read("rope.scaling.yarn_log_multiplier") || undefined;
      if (logMultiplier !== undefined && architecture !== "mistral3") {
        throw new KvquantError("UNSUPPORTED", `${architecture}.rope.scaling.yarn_log_multiplier: supported for mistral3; got ${logMultiplier}`);
      }
      if (ropeFactors !== undefined) throw new KvquantError("UNSUPPORTED", "rope factors: supported with scaling type none, linear and longrope; got yarn");
      return {
        type: "yarn",
        factor,
        originalMaxPositionEmbeddings: originalLength(read, architecture),
        betaFast: read("rope.scaling.yarn_beta_fast") ?? 32,
        betaSlow: read("rope.scaling.yarn_beta_slow") ?? 1,
        attentionFactor: yarnAttention(factor, logMultiplier) * attention,
      };
    }
    case "longrope": {
      check(ropeFactors !== undefined && !(ropeFactors instanceof Float32Array), "longrope", "tensors rope_factors_short and rope_factors_long", ropeFactors === undefined ? "none" : "rope_freqs");
      const { short, long } = ropeFactors;
      return { type: "longrope", factor, shortFactor: [...short], longFactor: [...long], originalMaxPositionEmbeddings: originalLength(read, architecture), attentionFactor: attention };
    }
    default:
      throw new KvquantError("UNSUPPORTED", `${architecture}.rope.scaling.type: supported are none, linear, yarn, longrope; got ${JSON.stringify(type)}`);
  }
}

function withFactors(factor: number, ropeFactors: GgufRopeFactors | undefined): RopeScaling {
  if (ropeFactors === undefined) return factor === 1 ? { type: "none" } : { type: "linear", factor };
  check(ropeFactors instanceof Float32Array, "rope factors", "one rope_freqs tensor without longrope", "short and long ones");
  return { type: "factors", factors: Array.from(ropeFactors, (divisor) => divisor * factor) };
}

/** Attention factor of yarn: g(1) / g(log multiplier), or g(1) without one, with g(m) = 1 + 0.1 m ln(factor). */
function yarnAttention(factor: number, logMultiplier: number | undefined): number {
  if (factor <= 1) return 1;
  const gain = (mscale: number): number => 1 + 0.1 * mscale * Math.log(factor);
  return logMultiplier !== undefined ? gain(1) / gain(logMultiplier) : gain(1);
}

function originalLength(read: (key: string) => number | undefined, architecture: string): number {
  const length = read("rope.scaling.original_context_length") ?? read("context_length");
  check(length !== undefined, `${architecture}.rope.scaling.original_context_length`, "a number", length);
  return length;
}

function readNumber(metadata: Metadata, key: string): number | undefined {
  const value = metadata[key] ?? undefined;
  if (typeof value === "bigint") return Number(value);
  check(value === undefined || typeof value === "number", key, "a number", typeof value);
  return value;
}
