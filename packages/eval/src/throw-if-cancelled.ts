/** Cancellation by signal. */

import { KvquantError } from "@kvquant/spec";

/** Throws CANCELLED, naming what was stopped, when the signal has fired. */
export function throwIfCancelled(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new KvquantError("CANCELLED", `${what} was cancelled`, { cause: signal.reason });
}
