/** Reads the rotary embedding of a Hugging Face `config.json`. */

import { check, KvquantError } from "@kvquant/spec";
import { checkRopeConfig } from "./rope-config.js";
import type { RopeConfig, RopeScaling } from "./rope-config.js";

type Settings = Readonly<Record<string, unknown>>;

const SUPPORTED = "default, linear, dynamic, yarn, llama3, longrope (also named su)";

/**
 * Reads the scaling rule out of a model's parsed `config.json`: its `rope_parameters` (transformers 5) or `rope_scaling`, with the rule named by `rope_type` or,
 * in older files, `type`. Such a dictionary alone is taken too, where it holds every number needed. No dictionary, or null: no scaling. A factor
 * that is null or missing for yarn and longrope is `max_position_embeddings / original_max_position_embeddings`.
 * @throws UNSUPPORTED for a rule not listed, or one dictionary per layer type; INVALID_ARGUMENT for missing or mistyped numbers
 */
export function ropeScalingFromHuggingFace(config: Settings): RopeScaling {
  const rope = ropeDictionary(config);
  if (rope === undefined) return { type: "none" };
  const type = rope["rope_type"] ?? rope["type"] ?? "default";
  const maximum = readNumber(config, "max_position_embeddings");
  const original = readNumber(rope, "original_max_position_embeddings") ?? readNumber(config, "original_max_position_embeddings");
  switch (type) {
    case "default":
      return { type: "none" };
    case "linear":
      return { type: "linear", factor: needed("factor", readNumber(rope, "factor")) };
    case "dynamic":
      return { type: "dynamic", factor: needed("factor", readNumber(rope, "factor")), maxPositionEmbeddings: needed("max_position_embeddings", maximum ?? original) };
    case "yarn": {
      const length = needed("original_max_position_embeddings", original ?? maximum);
      return {
        type: "yarn",
        factor: readNumber(rope, "factor") ?? needed("max_position_embeddings", maximum) / length,
        originalMaxPositionEmbeddings: length,
        ...optionalNumber("betaFast", readNumber(rope, "beta_fast")),
        ...optionalNumber("betaSlow", readNumber(rope, "beta_slow")),
        ...optionalNumber("attentionFactor", readNumber(rope, "attention_factor")),
        ...optionalNumber("mscale", readNumber(rope, "mscale")),
        ...optionalNumber("mscaleAllDim", readNumber(rope, "mscale_all_dim")),
        ...(typeof rope["truncate"] === "boolean" ? { truncate: rope["truncate"] } : {}),
      };
    }
    case "llama3":
      return {
        type: "llama3",
        factor: needed("factor", readNumber(rope, "factor")),
        lowFreqFactor: needed("low_freq_factor", readNumber(rope, "low_freq_factor")),
        highFreqFactor: needed("high_freq_factor", readNumber(rope, "high_freq_factor")),
        originalMaxPositionEmbeddings: needed("original_max_position_embeddings", original),
      };
    case "longrope":
    case "su": {
      const length = needed("original_max_position_embeddings", original ?? maximum);
      return {
        type: "longrope",
        factor: readNumber(rope, "factor") ?? needed("max_position_embeddings", maximum) / length,
        shortFactor: readNumbers(rope, "short_factor"),
        longFactor: readNumbers(rope, "long_factor"),
        originalMaxPositionEmbeddings: length,
        ...optionalNumber("attentionFactor", readNumber(rope, "attention_factor")),
      };
    }
    default:
      throw new KvquantError("UNSUPPORTED", `rope_type: supported are ${SUPPORTED}; got ${JSON.stringify(type)}`);
  }
}

/**
 * Reads the whole rotary embedding out of a model's parsed `config.json`: head dim (`head_dim` or hidden size over heads), base (`rope_theta`, inside
 * `rope_parameters` first; default 10,000), rotated part (`partial_rotary_factor`, likewise; default 1) and scaling rule.
 * @throws UNSUPPORTED and INVALID_ARGUMENT as `ropeScalingFromHuggingFace`
 */
export function ropeConfigFromHuggingFace(config: Settings): RopeConfig {
  const rope = ropeDictionary(config) ?? {};
  const headDim = readNumber(config, "head_dim") ?? needed("hidden_size", readNumber(config, "hidden_size")) / needed("num_attention_heads", readNumber(config, "num_attention_heads"));
  const part = readNumber(rope, "partial_rotary_factor") ?? readNumber(config, "partial_rotary_factor") ?? 1;
  const base = readNumber(rope, "rope_theta") ?? readNumber(config, "rope_theta") ?? 10_000;
  const ropeConfig = { headDim, rotaryDim: Math.trunc(headDim * part), base, scaling: ropeScalingFromHuggingFace(config) };
  checkRopeConfig(ropeConfig);
  return ropeConfig;
}

function ropeDictionary(config: Settings): Settings | undefined {
  const rope = config["rope_parameters"] ?? config["rope_scaling"] ?? ("rope_type" in config || "type" in config ? config : undefined);
  if (rope === undefined) return undefined;
  check(isSettings(rope), "rope_scaling", "an object or null", JSON.stringify(rope));
  const perLayer = rope === config ? undefined : Object.keys(rope).find((key) => isSettings(rope[key]));
  if (perLayer !== undefined) throw new KvquantError("UNSUPPORTED", `rope_parameters: supported is one set for all layers; got one per layer type (${perLayer})`);
  return rope;
}

function isSettings(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readNumber(settings: Settings, key: string): number | undefined {
  const value = settings[key] ?? undefined;
  check(value === undefined || typeof value === "number", key, "a number", JSON.stringify(value));
  return value;
}

function readNumbers(settings: Settings, key: string): number[] {
  const value = settings[key];
  check(Array.isArray(value) && value.every((entry) => typeof entry === "number"), key, "an array of numbers", JSON.stringify(value));
  return value as number[];
}

function needed(key: string, value: number | undefined): number {
  check(value !== undefined, `rope: ${key}`, "a number", value);
  return value;
}

function optionalNumber<Key extends string>(key: Key, value: number | undefined): Partial<Record<Key, number>> {
  return value === undefined ? {} : ({ [key]: value } as Record<Key, number>);
}
