/** Whether a benchmark's caches fit into the machine. */

import { freemem } from "node:os";
import { KvquantError } from "@kvquant/spec";
import { formatBytes } from "../format.js";

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

/** Free bytes; within a container those of its limit, where Node can tell. */
function availableMemory(): number {
  // Newer than the oldest Node this runs on.
  const limited = (process as { availableMemory?: () => number }).availableMemory?.();
  return limited === undefined || limited === 0 ? freemem() : Math.min(limited, freemem());
}
