/** Tables of figures. */

import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";

/** One row; the class may be `exact` (fp16), `best` (on the front) or `group` (the last of a tail). */
export interface TableRow {
  readonly className?: string | undefined;
  readonly cells: readonly Content[];
}

/** A table that scrolls sideways where it is wider than the page; the first column is text, the others are numbers. */
export function drawTable(titles: readonly string[], rows: readonly TableRow[]): Markup {
  return element(
    "div",
    { class: "table" },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, titles.map((title) => element("th", { scope: "col" }, title)))),
      element("tbody", {}, rows.map(({ className, cells }) => element("tr", { class: className }, cells.map((cell) => element("td", {}, cell))))),
    ),
  );
}
