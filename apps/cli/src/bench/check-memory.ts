/** Whether a benchmark's caches fit into the machine. */

import { freemem } from "node:os";
import { KvquantError } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import { formatBytes } from "../format.js";
import { exactBytes } from "./attention-shape.js";

/** Left to the rest of the process and of the machine. */
const reserveBytes = 256 << 20;

/**
 * Throws OUT_OF_CAPACITY unless `bytes` and a reserve are free.
 * @param remedy what to ask for instead
 */
export function checkMemory(what: string, bytes: number, remedy: string): void {
  const available = availableMemory();
  if (bytes + reserveBytes <= available) return;
  throw new KvquantError("OUT_OF_CAPACITY", `${what}: expected ${formatBytes(bytes + reserveBytes)} of free memory, got ${formatBytes(available)}; ${remedy}`);
}

/** Of a compressed cache, as a share of fp16 and rounded up. */
const compressedShare = 0.3;

/**
 * Throws OUT_OF_CAPACITY unless a model's caches of `tokens` fit, all of which are held at once.
 * @param caches names
 * @param batch sequences of the batched rows beside single ones; 1: none
 */
export function checkCachesMemory(shape: CacheShape, caches: readonly string[], { tokens, batch }: { readonly tokens: number; readonly batch: number }): void {
  const deepest = (batch === 1 ? 1 : 1 + batch) * exactBytes(shape, tokens);
  checkMemory(`${caches.length} caches`, caches.reduce((sum, name) => sum + deepest * (name === "fp16" ? 1 : compressedShare), 0), "ask for fewer --caches or --depths");
}

/** Free bytes; within a container those of its limit, where Node can tell. */
function availableMemory(): number {
  // Newer than the oldest Node this runs on.
  const limited = (process as { availableMemory?: () => number }).availableMemory?.();
  return limited === undefined || limited === 0 ? freemem() : Math.min(limited, freemem());
}
