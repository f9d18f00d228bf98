/** The position rule: which pages a query sees compressed, from positions alone. */

import { PAGE_TOKENS } from "@kvquant/spec";

/**
 * Where pages lie. Without truncation `openStart` is `sinkTokens + 64 * closedPages`, and the rule below does not depend on how many
 * pages happen to be closed. After a truncation into a page, the next one starts where it was cut.
 */
export interface PageRule {
  /** Pages that exist only in compressed form: every query sees them. */
  readonly closedPages: number;
  /** Position of the first token after the closed pages, where the next page starts. */
  readonly openStart: number;
  /** Newest tokens that stay exact, the query's own included; Infinity for a layer without compression. */
  readonly tailTokens: number;
}

/**
 * Pages that the query at `position` sees compressed: those whose last token is at most `position - tailTokens`
 * (a page closes when all its 64 tokens are older than the tail), and in any case the closed ones.
 */
export function visiblePages(position: number, rule: PageRule): number {
  const older = position + 1 - rule.tailTokens - rule.openStart;
  return rule.closedPages + Math.max(0, Math.floor(older / PAGE_TOKENS));
}

/** The last position whose query sees just `pages` pages compressed; `pages` is at least `rule.closedPages`. */
export function lastPositionSeeing(pages: number, rule: PageRule): number {
  return rule.openStart + rule.tailTokens + PAGE_TOKENS * (pages - rule.closedPages + 1) - 2;
}
