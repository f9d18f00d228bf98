/** Errors about bytes and artifacts that nobody can have written. */

import { KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";

/** A CORRUPT_DATA error "`what`: expected `expected`, got `got`". */
export function corrupt(what: string, expected: string, got: unknown, cause?: unknown): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${what}: expected ${expected}, got ${String(got)}`, cause === undefined ? undefined : { cause });
}

/**
 * The artifact's array `name`.
 * @throws CORRUPT_DATA when it is missing, has another length, or holds a number that is not finite
 */
export function artifactArray(artifact: QuantizerArtifact, name: string, length: number): Float32Array {
  const array = artifact.arrays[name];
  if (!(array instanceof Float32Array) || array.length !== length) throw corrupt(`artifact ${artifact.id}: array ${name}`, `${length} numbers`, array === undefined ? "none" : `${array.length}`);
  for (let index = 0; index < array.length; index++) {
    if (!Number.isFinite(array[index]!)) throw corrupt(`artifact ${artifact.id}: array ${name}`, "finite numbers", `${array[index]!} at index ${index}`);
  }
  return array;
}
