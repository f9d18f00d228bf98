/** Which rows of a window count. */

import { PAGE_TOKENS } from "@kvquant/spec";
import { isHeldOut } from "./held-out-page.js";

/** Rows of a window by what happens to them; sinks are in none of the lists. */
export interface WindowRows {
  /** Rows that are counted, ascending. The first `64 * pages` are whole pages. */
  readonly counted: Uint32Array;
  /** Whole pages among `counted`. */
  readonly pages: number;
  /** First rows of the pages held out. */
  readonly heldOut: readonly number[];
}

/** Sorts the rows of a window of `tokens`: sinks first, then pages of 64, a rest last. `held` pages are held out already. */
export function sortRows(tokens: number, sinkTokens: number, held: number): WindowRows {
  const fullPages = Math.max(0, Math.floor((tokens - sinkTokens) / PAGE_TOKENS));
  const heldOut: number[] = [];
  const counted: number[] = [];
  for (let page = 0; page < fullPages; page++) {
    const first = sinkTokens + page * PAGE_TOKENS;
    if (isHeldOut(page, held + heldOut.length)) heldOut.push(first);
    else for (let row = first; row < first + PAGE_TOKENS; row++) counted.push(row);
  }
  for (let row = sinkTokens + fullPages * PAGE_TOKENS; row < tokens; row++) counted.push(row);
  return { counted: Uint32Array.from(counted), pages: fullPages - heldOut.length, heldOut };
}
