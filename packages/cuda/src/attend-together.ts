/** Attention of several sequences at once: calls of one layer that arrive in the same turn are one call of the addon, whose launches they share. */

import { fromNative } from "@kvquant/spec";

import type { AddonAttend } from "./addon.js";

/** Attends to one sequence. @throws what is wrong with that call, or with the launch it was part of */
export type AttendSequence = (call: AddonAttend) => Promise<void>;

interface Waiting {
  readonly call: AddonAttend;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers calls until the code that makes them lets go of the thread (a microtask, no timer), so that `Promise.all` over caches is one batch; a call alone is a batch of one.
 * `attend` returns what became of each call, in order: undefined, or its error. Where it rejects, all calls do.
 */
export function attendTogether(attend: (calls: readonly AddonAttend[]) => Promise<readonly (Error | undefined)[]>): AttendSequence {
  let waiting: Waiting[] = [];
  async function start(): Promise<void> {
    const batch = waiting;
    waiting = [];
    try {
      const outcomes = await attend(batch.map(({ call }) => call));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const error = outcomes[index];
        if (error === undefined) resolve();
        else reject(fromNative(error));
      }
    } catch (error) {
      for (const { reject } of batch) reject(fromNative(error));
    }
  }
  return (call) =>
    new Promise((resolve, reject) => {
      waiting.push({ call, resolve, reject });
      if (waiting.length === 1) queueMicrotask(() => void start());
    });
}
