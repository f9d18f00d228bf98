// What instrumented code reports to: counters, and the values it compared.
import { hooksName } from "./instrument.mjs";

/** @typedef {number | string} Compared */

/** Pairs kept of one run; the first are as good as any. */
const mostPairs = 64;
const longestText = 64;

/**
 * Makes the hooks of a bundle, before it is imported.
 * @param {number} size number of counters
 */
export function installHooks(size) {
  const counters = new Uint8Array(size);
  /** How often each counter was reached, as bits: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128 and more times. */
  const seen = new Uint8Array(size);
  /** @type {[Compared, Compared][]} */
  let pairs = [];
  const note = (/** @type {any} */ a, /** @type {any} */ b) => {
    if (a === b || pairs.length >= mostPairs) return;
    const types = typeof a === typeof b && (typeof a === "number" || typeof a === "string");
    if (!types || (typeof a === "string" && (a.length > longestText || b.length > longestText))) return;
    pairs.push([a, b]);
  };
  /* eslint-disable eqeqeq -- these are the operators of the program under test */
  const compare = {
    same: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a === b),
    differs: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a !== b),
    equals: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a == b),
    unequal: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a != b),
    below: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a < b),
    atMost: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a <= b),
    above: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a > b),
    atLeast: (/** @type {any} */ a, /** @type {any} */ b) => (note(a, b), a >= b),
  };
  /* eslint-enable eqeqeq */
  Object.assign(globalThis, { [hooksName]: { counters, compare } });
  return {
    /** Forgets what the last run did. */
    reset() {
      counters.fill(0);
      pairs = [];
    },
    /** Values that the last run compared and found different. */
    pairs: () => pairs,
    /** How many counters the last run took further than any before it; they count as seen from now on. */
    takeNew() {
      let found = 0;
      for (let index = 0; index < size; index++) {
        const count = counters[index];
        if (count === 0 || count === undefined) continue;
        const bit = 1 << bucket(count);
        if (((seen[index] ?? 0) & bit) !== 0) continue;
        seen[index] = (seen[index] ?? 0) | bit;
        found++;
      }
      return found;
    },
    /** Counters reached by any run. */
    reached: () => seen.reduce((sum, bits) => sum + (bits === 0 ? 0 : 1), 0),
  };
}

/** @param {number} count 1 to 255; counters wrap, as those of other fuzzers do */
function bucket(count) {
  if (count <= 3) return count - 1;
  if (count < 8) return 3;
  if (count < 16) return 4;
  if (count < 32) return 5;
  return count < 128 ? 6 : 7;
}
