/** Names everything that decides the bits of a cache. */

import { createHash } from "node:crypto";

import type { KvCache } from "@kvquant/cache";
import { isNativeCache } from "@kvquant/cpu";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";

import type { ProbePage } from "./probe-pages.js";

/** What a cache is made of. */
export interface CacheIdentity {
  readonly model: LanguageModel;
  readonly artifact: KvqArtifact | "fp16";
  /** What its codecs write; undefined for fp16. */
  readonly probe: readonly ProbePage[] | undefined;
  /** An empty one. */
  readonly cache: KvCache;
  readonly sinkTokens: number;
  readonly tailTokens: number;
}

/** Version of the arithmetic and of this list: raise it when either changes, and stored records are computed anew. */
const VERSION = 1;

/**
 * A text that differs where the same tokens may give a cache with other bits: model, artifact (with what its codecs make of a fixed page, as custom quantizers are code), sinks, tail, engine,
 * instruction set, backend and precision.
 */
export function identifyCache({ model, artifact, probe, cache, sinkTokens, tailTokens }: CacheIdentity): string {
  const arithmetic = isNativeCache(cache) ? [cache.isa, cache.paths()] : [];
  const fitted = artifact === "fp16" ? artifact : hashArtifact(artifact, probe ?? []);
  return JSON.stringify([VERSION, model.fingerprint, fitted, sinkTokens, tailTokens, model.engine, cache.backends(), arithmetic]);
}

function hashArtifact(artifact: KvqArtifact, probe: readonly ProbePage[]): string {
  const hash = createHash("sha256");
  for (const side of artifact.layers.flatMap(({ key, value }) => [key, value])) {
    hash.update(JSON.stringify([side.id, side.bits, side.packing, side.stages]));
    for (const [name, array] of Object.entries(side.arrays)) hash.update(name).update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }
  for (const { key, value } of probe) hash.update(key.bytes).update(value.bytes);
  return hash.digest("hex");
}
