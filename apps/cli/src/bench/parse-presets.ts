/** Caches of a benchmark without a model: fp16 and presets, for an artifact belongs to a model. */

import { parseCacheChoices } from "../cache-choice.js";
import { UsageError } from "../usage-error.js";

/** @throws UsageError for a `.kvq` file, an unknown name or one given twice */
export function parsePresets(list: string): string[] {
  return parseCacheChoices(list).map(({ kind, name }) => {
    if (kind === "file") throw new UsageError(`caches: expected fp16 and presets, because no model is loaded here, got the file "${name}"`);
    return name;
  });
}
