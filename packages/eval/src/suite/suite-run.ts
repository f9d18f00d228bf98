/** One cache under one tail, as the suite runs it. */

import type { KvCache } from "@kvquant/cache";
import type { EvaluatedCache } from "../evaluated-cache.js";
import { identifyArtifact } from "./identify-artifact.js";
import type { SuiteModel } from "./suite-model.js";
import type { SuiteOptions } from "./suite-options.js";
import type { UnitKey } from "./unit-store.js";

/** A row of every table. */
export interface SuiteRun {
  readonly cache: EvaluatedCache;
  /** Undefined for fp16, which is exact throughout. */
  readonly tail: number | undefined;
  /** See `identifyArtifact`. */
  readonly artifactHash: string;
}

/** fp16 first, under the name it was given, then for each tail the compressed caches in their order. */
export function createRuns({ caches, tails }: { readonly caches: SuiteOptions["caches"]; readonly tails: readonly number[] }): readonly SuiteRun[] {
  const exact = caches.find((cache) => cache.artifact === "fp16") ?? { name: "fp16", artifact: "fp16" as const };
  const compressed = caches.filter((cache) => cache.artifact !== "fp16").map((cache) => ({ cache, artifactHash: identifyArtifact(cache) }));
  return [{ cache: exact, tail: undefined, artifactHash: "fp16" }, ...tails.flatMap((tail) => compressed.map((one) => ({ ...one, tail })))];
}

/** The run in words: `kvq3, tail 64`. */
export function describeRun({ cache, tail }: SuiteRun): string {
  return tail === undefined ? cache.name : `${cache.name}, tail ${tail}`;
}

/** An empty cache for generating: the model's default kind, pages by the rule of generation whatever the tail. */
export function openGenerationCache(model: SuiteModel, { cache: { artifact, quantizers }, tail }: SuiteRun): KvCache {
  return model.createCache(artifact === "fp16" ? { artifact } : { artifact, ...(quantizers === undefined ? {} : { quantizers }), tailTokens: tail });
}

/** The part of a unit's key that every unit has: model, engine, attention and cache. */
export function runKey(model: SuiteModel, run: SuiteRun, backends: readonly string[]): Omit<UnitKey, "part"> {
  return { model: model.fingerprint, engine: model.engine, backends: backends.join(" "), cache: run.artifactHash, tail: run.tail };
}
