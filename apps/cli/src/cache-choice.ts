/** Names of caches on the command line; a wrong one is a wrong command line. */

import { noCustomQuantizers, parseCacheChoice as parseName, parseCacheChoices as parseNames } from "@kvquant/artifacts";
import type { CacheChoice, CustomQuantizers } from "@kvquant/artifacts";
import { KvquantError } from "@kvquant/spec";
import { UsageError } from "./usage-error.js";

/** One name. @throws UsageError for one that names nothing */
export function parseCacheChoice(name: string, custom: CustomQuantizers = noCustomQuantizers): CacheChoice {
  return asUsage(() => parseName(name, custom));
}

/** Names divided by commas. @throws UsageError for an empty list, an unknown name or one given twice */
export function parseCacheChoices(list: string, custom: CustomQuantizers = noCustomQuantizers): CacheChoice[] {
  return asUsage(() => parseNames(list, custom));
}

function asUsage<Result>(parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    throw KvquantError.isInstance(error) && error.code === "INVALID_ARGUMENT" ? new UsageError(error.message.replace("needs its file", "needs its file, --quantizer file.mjs")) : error;
  }
}
