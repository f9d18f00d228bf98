/** Error against true bits: every cache of one tail, with its interval and the Pareto front. */

import type { ParetoPoint, WindowRow } from "../suite/suite-report.js";
import { fixed, interval, small } from "./figures.js";
import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";
import { framePlot, marksOf, PLOT, X_PIXELS, Y_PIXELS } from "./plot-frame.js";
import { linearScale, logScale } from "./scale.js";
import type { SeriesLook } from "./series.js";

/** What is plotted. */
export interface BitsPlot {
  readonly description: string;
  /** Rows of one tail; those without full pages are left out. */
  readonly rows: readonly WindowRow[];
  readonly front: readonly ParetoPoint[];
  readonly lookOf: (cache: string) => SeriesLook;
}

/** The plot, logarithmic in the error; empty markup without rows. */
export function drawBits({ description, rows, front, lookOf }: BitsPlot): Markup {
  const points = rows.flatMap((row) => (row.bitsPerValue === undefined ? [] : [{ row, bits: row.bitsPerValue }]));
  if (points.length === 0) return { markup: "" };
  const bits = points.map((point) => point.bits);
  const x = linearScale([Math.floor(Math.min(...bits) * 2 - 0.2) / 2, Math.ceil(Math.max(...bits) * 2 + 0.2) / 2], X_PIXELS, 6);
  const y = logScale(points.flatMap(({ row }) => [row.kldMean, row.intervals.kldMean?.high ?? row.kldMean, Math.max(row.intervals.kldMean?.low ?? row.kldMean, row.kldMean / 3)]), Y_PIXELS);
  const steps = front.map((point, index) => {
    const at = { x: x.place(point.bitsPerValue), y: y.place(point.kldMean) };
    return index === 0 ? `M${at.x.toFixed(1)} ${at.y.toFixed(1)}` : `H${at.x.toFixed(1)}V${at.y.toFixed(1)}`;
  });
  const dots = points.map(({ row, bits: own }) => ({ row, name: row.cache, x: x.place(own), y: y.place(row.kldMean), look: lookOf(row.cache) }));
  const frame = { description, xTitle: "true bits per value", yTitle: "mean KL divergence, nats", xMarks: marksOf(x), yMarks: marksOf(y) };
  return framePlot(
    frame,
    element("path", { class: "front", d: steps.join("") }),
    dots.map(({ row, look, x: at, y: height }) =>
      element(
        "g",
        { class: look.className },
        row.intervals.kldMean === undefined ? undefined : errorBar(at, y.place(row.intervals.kldMean.low), y.place(row.intervals.kldMean.high)),
        element("circle", { class: "dot", cx: at, cy: height, r: 5 }, element("title", {}, `${row.cache}: ${fixed(row.bitsPerValue, 2)} bits, ${small(row.kldMean)} (${interval(row.intervals.kldMean, small)})`)),
      ),
    ),
    placeNames(dots),
  );
}

function errorBar(x: number, low: number, high: number): Content {
  return [[low, low, -3, 3], [high, high, -3, 3]].map(([y1, y2, from, to]) => element("line", { class: "error", x1: x + from!, x2: x + to!, y1, y2 })).concat(element("line", { class: "error", x1: x, x2: x, y1: low, y2: high }));
}

interface Dot {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly look: SeriesLook;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Names where they cover neither dots nor each other, or as few as can be. */
function placeNames(dots: readonly Dot[]): Content {
  const taken: Box[] = dots.map(({ x, y }) => ({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 }));
  return dots.map(({ name, x, y, look }) => {
    const width = 7.4 * name.length;
    const candidates = [
      { at: x + 8, baseline: y - 9, anchor: "start" }, // The front goes on to the right and comes from above.
      { at: x + 10, baseline: y + 4, anchor: "start" },
      { at: x - 10, baseline: y + 4, anchor: "end" },
      { at: x + 8, baseline: y + 17, anchor: "start" },
      { at: x - 8, baseline: y - 9, anchor: "end" },
      { at: x - 8, baseline: y + 17, anchor: "end" },
      { at: x + 8, baseline: y - 22, anchor: "start" },
      { at: x + 8, baseline: y + 30, anchor: "start" },
      { at: x - 8, baseline: y - 22, anchor: "end" },
      { at: x - 8, baseline: y + 30, anchor: "end" },
    ];
    const boxOf = ({ at, baseline, anchor }: (typeof candidates)[number]): Box => {
      const left = anchor === "start" ? at : at - width;
      return { left, right: left + width, top: baseline - 9, bottom: baseline + 2 };
    };
    const fits = ({ left, right, top, bottom }: Box): boolean => left >= X_PIXELS[0] && right <= PLOT.width && top >= 0 && bottom <= Y_PIXELS[0];
    const covered = (candidate: (typeof candidates)[number]): number => taken.filter((box) => overlaps(box, boxOf(candidate))).length + (fits(boxOf(candidate)) ? 0 : 100);
    const best = candidates.reduce((least, candidate) => (covered(candidate) < covered(least) ? candidate : least));
    taken.push(boxOf(best));
    return element("text", { class: `name ${look.className}`, x: best.at, y: best.baseline, "text-anchor": best.anchor }, name);
  });
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
