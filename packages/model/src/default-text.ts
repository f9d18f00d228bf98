/** Text a model was sampled to give, shipped with the package: calibration and evaluation without any other corpus. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Path of the text shipped for an alias, `smollm2` or `tiny`; undefined for other names. */
export function defaultText(modelName: string): string | undefined {
  if (!/^[a-z0-9]+$/.test(modelName)) return undefined;
  const path = fileURLToPath(new URL(`../models/${modelName}.txt`, import.meta.url));
  return existsSync(path) ? path : undefined;
}
