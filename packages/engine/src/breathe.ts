/** Gives way to the event loop during long synchronous work. */

import { setImmediate } from "node:timers/promises";

/** Synchronous work between two turns of the event loop, in milliseconds. */
const SLICE = 5;

/** Returns a function that waits for one turn of the event loop when the last one was more than a few milliseconds ago. */
export function createBreather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < SLICE) return;
    await setImmediate();
    last = performance.now();
  };
}
