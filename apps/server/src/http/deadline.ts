/** What can end a request from outside: its client, the clock, or the server going down. */

import { ApiError } from "../openai/api-error.js";

/** One request's end. */
export interface Deadline {
  /** Aborted by whichever comes first. */
  readonly signal: AbortSignal;
  /** The error to answer with, when the deadline ended the request. */
  error(): ApiError | undefined;
  /** Ends the request for a reason of the server's own. */
  cancel(): void;
  /** Lets go of timers and listeners. */
  release(): void;
}

/** Starts the clock. `AbortSignal.any` is not used: on Node 20 it keeps every signal it ever joined. */
export function createDeadline(options: { readonly client: AbortSignal; readonly shutdown: AbortSignal; readonly seconds: number }): Deadline {
  const { client, shutdown, seconds } = options;
  const controller = new AbortController();
  let reason: ApiError | undefined;
  const end = (error: ApiError): void => {
    reason ??= error;
    controller.abort();
  };
  const onClient = (): void => end(new ApiError(499, "the client went away", { code: "client_closed_request" }));
  const onShutdown = (): void => end(new ApiError(503, "the server is going down", { code: "server_shutting_down" }));
  const timer = setTimeout(() => end(new ApiError(504, `the request took more than ${seconds} s, the limit of this server`, { code: "timeout" })), seconds * 1000);
  client.addEventListener("abort", onClient);
  shutdown.addEventListener("abort", onShutdown);
  if (client.aborted) onClient();
  if (shutdown.aborted) onShutdown();
  return {
    signal: controller.signal,
    error: () => reason,
    cancel: () => controller.abort(),
    release() {
      clearTimeout(timer);
      client.removeEventListener("abort", onClient);
      shutdown.removeEventListener("abort", onShutdown);
    },
  };
}
