/** What happens inside an engine, for logs and metrics. */

import type { Usage } from "./generation.js";

/** Told through `onEvent`. What a listener throws ends no request: it is thrown again with nobody to catch it. */
export type EngineEvent =
  | { readonly type: "submitted"; readonly id: string; readonly promptTokens: number }
  | { readonly type: "started"; readonly id: string; readonly cachedTokens: number; readonly waitedSeconds: number }
  | { readonly type: "first-token"; readonly id: string; readonly seconds: number }
  | { readonly type: "finished"; readonly id: string; readonly reason: "end" | "stop" | "length"; readonly usage: Usage }
  | { readonly type: "cancelled"; readonly id: string }
  | { readonly type: "failed"; readonly id: string; readonly error: unknown }
  | { readonly type: "preempted"; readonly id: string; readonly tokens: number }
  | { readonly type: "step"; readonly sequences: number; readonly prefillTokens: number; readonly decodeTokens: number; readonly seconds: number }
  | { readonly type: "evicted"; readonly tokens: number; readonly bytes: number }
  | { readonly type: "restored"; readonly tokens: number; readonly seconds: number }
  | { readonly type: "damaged"; readonly key: string; readonly reason: string }
  | { readonly type: "store-failed"; readonly key: string; readonly error: unknown };

/** Tells `listener`, whose errors are its own: they become the process's uncaught exceptions, as in listeners of the DOM. */
export function createEmit(listener: ((event: EngineEvent) => void) | undefined): (event: EngineEvent) => void {
  return (event) => {
    try {
      listener?.(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}
