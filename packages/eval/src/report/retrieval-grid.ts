/** Depth against length for one cache: the share of trials that found the needle. */

import type { RetrievalRow, RetrievalSection } from "../suite/suite-report.js";
import { count, percent, tailName } from "./figures.js";
import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";

const CELL = { width: 64, height: 30 } as const;
const MARGIN = { left: 44, top: 6, bottom: 44 } as const;

/** Grids of one task, one for each cache and tail, fp16 first. */
export function drawGrids(sections: readonly RetrievalSection[]): readonly Markup[] {
  return sections[0]!.rows.map((row, index) =>
    element("figure", { class: "grid-figure" }, element("figcaption", {}, element("b", {}, row.cache), ` ${tailName(row.tail)}`), drawGrid(sections.map((section) => ({ section, row: section.rows[index]! })))),
  );
}

function drawGrid(columns: readonly { section: RetrievalSection; row: RetrievalRow }[]): Markup {
  const depths = [...new Set(columns.flatMap(({ row }) => row.byDepth.map(({ depth }) => depth)))].sort((a, b) => a - b);
  const width = MARGIN.left + columns.length * CELL.width + 4;
  const bottom = MARGIN.top + depths.length * CELL.height;
  const { cache, tail } = columns[0]!.row;
  return element(
    "svg",
    { viewBox: `0 0 ${width} ${bottom + MARGIN.bottom}`, width, role: "img", "aria-label": `${columns[0]!.section.part}, ${cache}, ${tailName(tail)}: share found by depth and length` },
    depths.map((depth, line) => element("text", { class: "mark", x: MARGIN.left - 6, y: MARGIN.top + (line + 0.5) * CELL.height + 4, "text-anchor": "end" }, percent(depth, 0))),
    columns.map(({ section, row }, column) => [
      depths.map((depth, line) => drawCell(row, { depth, x: MARGIN.left + column * CELL.width, y: MARGIN.top + line * CELL.height, conclusive: section.conclusive })),
      element("text", { class: "mark", x: MARGIN.left + (column + 0.5) * CELL.width, y: bottom + 16, "text-anchor": "middle" }, `${count(section.length)}${section.conclusive ? "" : "*"}`),
      element("text", { class: "mark strong", x: MARGIN.left + (column + 0.5) * CELL.width, y: bottom + 32, "text-anchor": "middle" }, `${row.passed}/${row.trials}`),
    ]),
  );
}

function drawCell(row: RetrievalRow, { depth, x, y, conclusive }: { depth: number; x: number; y: number; conclusive: boolean }): Content {
  const cell = row.byDepth.find((one) => one.depth === depth);
  if (cell === undefined) return undefined;
  const share = cell.passed / cell.trials;
  return element(
    "g",
    { class: conclusive ? "cell" : "cell inconclusive" },
    element("rect", { class: "ground", x: x + 1, y: y + 1, width: CELL.width - 2, height: CELL.height - 2, rx: 3 }),
    element("rect", { class: "found", x: x + 1, y: y + 1, width: CELL.width - 2, height: CELL.height - 2, rx: 3, "fill-opacity": share }, element("title", {}, `depth ${percent(depth, 0)}: ${cell.passed} of ${cell.trials}, log p of the answer ${cell.logProbability.toFixed(2)}`)),
    element("text", { class: share > 0.55 && conclusive ? "on-found" : "in-cell", x: x + CELL.width / 2, y: y + CELL.height / 2 + 4, "text-anchor": "middle" }, `${cell.passed}/${cell.trials}`),
  );
}
