/** Caches of a benchmark without a model: fp16 and presets, for an artifact belongs to a model. */

import type { CacheChoice, CustomQuantizers } from "@kvquant/artifacts";
import { parseCacheChoices } from "../cache-choice.js";
import { UsageError } from "../usage-error.js";

/** A cache that needs no model. */
export type PresetChoice = Exclude<CacheChoice, { readonly kind: "file" }>;

/** @throws UsageError for a `.kvq` file, an unknown name or one given twice */
export function parsePresetChoices(list: string, custom?: CustomQuantizers): PresetChoice[] {
  return parseCacheChoices(list, custom).map((choice) => {
    if (choice.kind === "file") throw new UsageError(`caches: expected fp16 and presets, because no model is loaded here, got the file "${choice.name}"`);
    return choice;
  });
}

/** Names of `parsePresetChoices`. @throws UsageError like it */
export function parsePresets(list: string): string[] {
  return parsePresetChoices(list).map(({ name }) => name);
}
