/** Work that keeps the event loop busy, one piece at a time. */

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `work` after those that came before it, with a turn of the event loop before each: requests that come together would otherwise be encoded
 * in one go, and answers under way would stand still for all of them. One queue for the process, as there is one event loop.
 */
export function takeTurn<Result>(work: () => Result): Promise<Result> {
  const turn = last.then(() => new Promise((resolve) => setImmediate(resolve))).then(work);
  // A failure is its caller's.
  last = turn.catch(() => undefined);
  return turn;
}
