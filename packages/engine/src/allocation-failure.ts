/** What a failed allocation is told as. */

import { KvquantError } from "@kvquant/spec";

/** OUT_OF_CAPACITY for memory that the system or V8 did not give; anything else as it is. Clients may try such a request again, unlike one that met a defect. */
export function describeAllocation(error: unknown): unknown {
  if (!(error instanceof RangeError) || !/allocation failed|invalid (typed )?array( buffer)? length/i.test(error.message)) return error;
  return new KvquantError("OUT_OF_CAPACITY", `memory: expected room for this step, got none from the system (${error.message}); lower the limits of caches or sequences`, { cause: error });
}
