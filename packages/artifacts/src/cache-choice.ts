/** Names of caches as users write them: `fp16`, a preset, a cache of the user's own, or the path of a `.kvq` file. */

import { existsSync } from "node:fs";
import { parsePreset, presetNames } from "@kvquant/quant";
import type { CachePreset } from "@kvquant/quant";
import { KvquantError, check } from "@kvquant/spec";
import { noCustomQuantizers } from "./custom-quantizers.js";
import type { CustomQuantizers } from "./custom-quantizers.js";

/** A cache as named by the user. */
export type CacheChoice =
  | { readonly kind: "fp16"; readonly name: "fp16" }
  | { readonly kind: "preset"; readonly name: string; /** What to fit: a preset's name, or one of the user's. */ readonly preset: string | CachePreset }
  | { readonly kind: "file"; readonly name: string };

/**
 * Reads one name. Anything that ends in `.kvq` or exists is a file.
 * @throws INVALID_ARGUMENT for a name that is neither
 */
export function parseCacheChoice(name: string, custom: CustomQuantizers = noCustomQuantizers): CacheChoice {
  if (name === "fp16") return { kind: "fp16", name };
  if (name.endsWith(".kvq")) return { kind: "file", name };
  const own = custom.presets.get(name);
  if (own !== undefined) return { kind: "preset", name, preset: own };
  const bits = plannedBits(name);
  if (bits !== undefined) {
    check(bits >= 2 && bits <= 8, "cache", "kvq:2 to kvq:8, the bits a value of a plan", name);
    return { kind: "preset", name, preset: name };
  }
  try {
    parsePreset(name);
    return { kind: "preset", name, preset: name };
  } catch (error) {
    if (!KvquantError.isInstance(error)) throw error;
    if (existsSync(name)) return { kind: "file", name };
    const known = ["fp16", ...custom.presets.keys(), ...presetNames].join(", ");
    throw new KvquantError("INVALID_ARGUMENT", `cache: expected one of ${known}, kvq:<bits> such as kvq:2.5 for a plan, or the path of a .kvq file, got "${name}"; a cache of your own needs its file`);
  }
}

/** The bits of `kvq:<bits>`, which names the best plan within that many bits a value; undefined for another name. */
export function plannedBits(name: string): number | undefined {
  const [, bits] = /^kvq:(\d+(?:\.\d+)?)$/.exec(name) ?? [];
  return bits === undefined ? undefined : Number(bits);
}

/**
 * Reads names divided by commas.
 * @throws INVALID_ARGUMENT for an empty list, an unknown name or one given twice
 */
export function parseCacheChoices(list: string, custom: CustomQuantizers = noCustomQuantizers): CacheChoice[] {
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (names.length === 0) throw new KvquantError("INVALID_ARGUMENT", `caches: expected names divided by commas, such as fp16,nuq3-1%,kvq3, got "${list}"`);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new KvquantError("INVALID_ARGUMENT", `caches: expected each name once, got "${twice}" twice`);
  return names.map((name) => parseCacheChoice(name, custom));
}
