/** The errors of looking for a model. */

import { KvquantError } from "@kvquant/spec";

/** UNAVAILABLE: what is wanted, why it cannot be had, what to do. */
export function unavailable(what: string, why: string, remedy: string, cause?: unknown): KvquantError {
  return new KvquantError("UNAVAILABLE", `${what}: ${why}; ${remedy}`, cause === undefined ? undefined : { cause });
}

/** Throws CANCELLED once the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new KvquantError("CANCELLED", `${what}: cancelled; what was downloaded is kept, start again to go on`, { cause: signal.reason });
}
