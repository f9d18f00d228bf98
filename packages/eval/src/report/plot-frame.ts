/** Axes, grid and titles of a plot. */

import { tick } from "./figures.js";
import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";
import type { Scale } from "./scale.js";

/** Pixels of every plot; the page scales them to its column. */
export const PLOT = { width: 620, height: 340, left: 76, right: 128, top: 16, bottom: 46 } as const;
/** Pixels across the plotting area. */
export const X_PIXELS: readonly [number, number] = [PLOT.left, PLOT.width - PLOT.right];
/** Pixels up the plotting area. */
export const Y_PIXELS: readonly [number, number] = [PLOT.height - PLOT.bottom, PLOT.top];

/** One mark of an axis. */
export interface AxisMark {
  readonly at: number;
  readonly label: string;
}

/** What is framed. */
export interface PlotFrame {
  /** Said to those who cannot see it. */
  readonly description: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly xMarks: readonly AxisMark[];
  readonly yMarks: readonly AxisMark[];
}

/** Marks of a scale's ticks. */
export function marksOf(scale: Scale, write: (value: number) => string = tick): readonly AxisMark[] {
  return scale.ticks.map((tick) => ({ at: scale.place(tick), label: write(tick) }));
}

/** A plot: frame first, then what is drawn on it. */
export function framePlot({ description, xTitle, yTitle, xMarks, yMarks }: PlotFrame, ...drawn: readonly Content[]): Markup {
  const [left, right] = X_PIXELS;
  const [bottom, top] = Y_PIXELS;
  return element(
    "svg",
    { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": description },
    yMarks.map(({ at, label }) => [element("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }), element("text", { class: "mark", x: left - 8, y: at + 4, "text-anchor": "end" }, label)]),
    xMarks.map(({ at, label }) => [element("line", { class: "tick", x1: at, x2: at, y1: bottom, y2: bottom + 4 }), element("text", { class: "mark", x: at, y: bottom + 17, "text-anchor": "middle" }, label)]),
    element("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    element("text", { class: "title", x: (left + right) / 2, y: PLOT.height - 8, "text-anchor": "middle" }, xTitle),
    element("text", { class: "title", x: 14, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})` }, yTitle),
    drawn,
  );
}
