/** Connections that fail, told with the server's address: fetch alone says "fetch failed". */

import { KvquantError } from "@kvquant/spec";

/** Does `work` on a server at `url`. @throws UNAVAILABLE when the connection fails; what `signal` and KvquantErrors say passes as it is */
export async function nameServer<Result>(url: string, work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (KvquantError.isInstance(error) || signal?.aborted === true) throw error;
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    throw new KvquantError("UNAVAILABLE", `load: expected a whole answer from ${url}, got a connection that failed: ${cause instanceof Error ? cause.message : String(cause)}; has the server ended?`, { cause: error });
  }
}
