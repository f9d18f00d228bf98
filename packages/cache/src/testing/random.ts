/** Repeatable random numbers for tests. */

/** A generator of numbers in [0, 1), the same for the same seed everywhere. */
export { randomNumbers as seededRandom } from "@kvquant/quant/testing";

/** `length` numbers of a standard normal distribution (Box-Muller). */
export function normalNumbers(length: number, random: () => number): Float32Array {
  return Float32Array.from({ length }, () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
}
