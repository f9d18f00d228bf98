/** The files a model.safetensors.index.json names. */

import { KvquantError } from "@kvquant/spec";

/**
 * Names of the shards, each once, sorted.
 * @throws CORRUPT_DATA when there are none, or a name that would leave the folder
 */
export function shardNames(index: unknown, where: string): readonly string[] {
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null) throw new KvquantError("CORRUPT_DATA", `${where}: expected an object weight_map, got ${typeof map}`);
  const names = [...new Set(Object.values(map as Record<string, unknown>))];
  for (const name of names) {
    if (typeof name === "string" && /^[\w.-]+\.safetensors$/.test(name)) continue;
    throw new KvquantError("CORRUPT_DATA", `${where}: expected names of .safetensors files in the same folder, got ${JSON.stringify(name)}`);
  }
  if (names.length === 0) throw new KvquantError("CORRUPT_DATA", `${where}: expected at least one shard, got none`);
  return (names as string[]).sort();
}
