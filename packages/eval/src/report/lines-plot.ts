/** Lines over places, steps or layers, one a cache, named at their ends. */

import { percent, tick } from "./figures.js";
import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";
import { framePlot, marksOf, PLOT, X_PIXELS, Y_PIXELS } from "./plot-frame.js";
import type { AxisMark } from "./plot-frame.js";
import { linearScale, logScale } from "./scale.js";
import type { Scale } from "./scale.js";
import type { SeriesLook } from "./series.js";

/** One line. */
export interface Series {
  readonly name: string;
  readonly look: SeriesLook;
  /** One entry for each place; undefined leaves a gap. */
  readonly points: readonly (SeriesPoint | undefined)[];
}

/** One point, with the standard error drawn as a bar of 1.96 of it to either side. */
export interface SeriesPoint {
  readonly value: number;
  readonly error?: number | undefined;
  /** Shown when pointed at. */
  readonly title: string;
}

/** What is plotted. */
export interface LinesPlot {
  readonly description: string;
  readonly xTitle: string;
  readonly yTitle: string;
  /** Labels of the places, evenly spaced; where they do not fit, some are left out. */
  readonly places: readonly string[];
  readonly series: readonly Series[];
  /** `log` for errors over decades, `share` for 0 to 1. */
  readonly scale: "log" | "share";
}

/** Pixels of a character of a mark, and between marks. */
const CHARACTER = 6.6;
const MARK_GAP = 12;
/** Pixels of a character of a name, which is bold. */
const NAME_CHARACTER = 7.6;
const LABEL_HEIGHT = 14;

/** The plot; points below a log axis lie on its floor. */
export function drawLines(plot: LinesPlot): Markup {
  const { places, series } = plot;
  const values = series.flatMap(({ points }) => points.flatMap((point) => (point === undefined ? [] : [point.value])));
  const y = plot.scale === "log" ? logScale(values, Y_PIXELS, 3) : linearScale([0, 1], Y_PIXELS);
  const step = (X_PIXELS[1] - X_PIXELS[0]) / Math.max(1, places.length);
  const placeAt = (index: number): number => X_PIXELS[0] + (index + 0.5) * step;
  const every = Math.max(1, Math.ceil((Math.max(...places.map(({ length }) => length)) * CHARACTER + MARK_GAP) / step));
  const xMarks: AxisMark[] = places.flatMap((label, index) => (index % every === 0 ? [{ at: placeAt(index), label }] : []));
  const frame = { description: plot.description, xTitle: plot.xTitle, yTitle: plot.yTitle, xMarks, yMarks: marksOf(y, plot.scale === "share" ? (share) => percent(share, 0) : tick) };
  return framePlot(frame, series.map((one) => drawSeries(one, { placeAt, y })), nameEnds(series, { placeAt, y }));
}

interface Places {
  readonly placeAt: (index: number) => number;
  readonly y: Scale;
}

function drawSeries({ points, look }: Series, { placeAt, y }: Places): Content {
  const drawn = points.flatMap((point, index) => (point === undefined ? [] : [{ ...point, x: placeAt(index), y: y.place(point.value) }]));
  const path = drawn.map((point, index) => `${index === 0 ? "M" : "L"}${point.x.toFixed(1)} ${point.y.toFixed(1)}`).join("");
  const markers = drawn.map((point) => [
    point.error === undefined ? undefined : element("line", { class: "error", x1: point.x, x2: point.x, y1: y.place(point.value - 1.96 * point.error), y2: y.place(point.value + 1.96 * point.error) }),
    element("circle", { class: "dot", cx: point.x, cy: point.y, r: points.length > 16 ? 2 : 3 }, element("title", {}, point.title)),
  ]);
  return element("g", { class: look.className }, element("path", { class: "line", d: path, "stroke-dasharray": look.dashes }), markers);
}

/** Names beside the last points, moved apart where they would lie on each other. */
function nameEnds(series: readonly Series[], { placeAt, y }: Places): Content {
  const ends = series.flatMap(({ name, look, points }) => {
    const last = points.findLastIndex((point) => point !== undefined);
    return last < 0 ? [] : [{ name, look, x: placeAt(last), y: y.place(points[last]!.value) }];
  });
  const tops = spreadApart(ends.map((end) => end.y), { gap: LABEL_HEIGHT, low: Y_PIXELS[1] + 4, high: Y_PIXELS[0] });
  const x = X_PIXELS[1] + 12;
  return ends.map((end, index) => [
    element("path", { class: `lead ${end.look.className}`, d: `M${(end.x + 4).toFixed(1)} ${end.y.toFixed(1)}L${(x - 2).toFixed(1)} ${tops[index]!.toFixed(1)}` }),
    element("text", { class: `name ${end.look.className}`, x, y: tops[index]! + 4 }, shorten(end.name)),
  ]);
}

/** As a plot's margin holds. */
function shorten(name: string): string {
  const most = Math.floor((PLOT.right - 12) / NAME_CHARACTER);
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}

/** Moves values apart to at least `gap`, in their order, within `low` to `high` where they fit. */
export function spreadApart(values: readonly number[], { gap, low, high }: { readonly gap: number; readonly low: number; readonly high: number }): readonly number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  const placed = [...values];
  let next = low;
  for (const index of order) {
    placed[index] = Math.max(placed[index]!, next);
    next = placed[index] + gap;
  }
  let limit = high;
  for (const index of order.toReversed()) {
    placed[index] = Math.min(placed[index]!, limit);
    limit = placed[index] - gap;
  }
  return placed;
}
