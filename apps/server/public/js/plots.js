// The last hour, one small plot for each question.
import uPlot from "../vendor/uplot.js";
import { byId, make } from "./dom.js";
import { bytes, count, percent, rate, seconds } from "./format.js";
import { colour } from "./theme.js";

const plots = [
  { title: "Tokens a second", format: rate, series: [["generatedTokensPerSecond", "written"], ["promptTokensPerSecond", "read"]] },
  { title: "Time to first token", format: seconds, series: [["firstTokenMean", "mean"], ["firstTokenMax", "longest"]] },
  { title: "Requests", format: count, series: [["running", "running"], ["waiting", "waiting"]], least: 2 },
  { title: "Prompt tokens from cache", format: percent, series: [["hitRate", "hit rate"]], most: 1 },
  { title: "Cache", format: bytes, series: [["cacheBytes", "held"], ["fp16Bytes", "in fp16"]], step: 1024 },
  { title: "Longest stall of the server", format: seconds, series: [["eventLoopP99", "99 of 100"], ["eventLoopMax", "worst"]] },
];

export function createPlots() {
  const place = byId("plots");
  const drawn = plots.map((plot) => {
    const holder = make("div", { className: "plot-holder" });
    const now = make("span", { className: "numbers" });
    const legend = make("ul", { className: "legend" }, ...plot.series.map(([, label], index) => make("li", {}, make("span", { className: `swatch ${index === 0 ? "first" : "second"}` }), label)));
    const figure = make("div", { className: "plot", role: "group", "aria-label": plot.title }, make("h3", {}, plot.title, now), legend, holder);
    place.append(figure);
    return { plot, holder, now, figure, chart: undefined };
  });
  let report;

  function show() {
    if (report === undefined) return;
    byId("plots-hint").textContent = report.times.length < 2 ? `all models together · the first points come after ${2 * report.intervalSeconds} s` : "all models together";
    if (report.times.length === 0) return;
    for (const entry of drawn) {
      const data = [report.times, ...entry.plot.series.map(([name]) => report.series[name])];
      if (entry.chart === undefined) {
        entry.chart = lineChart(entry.holder, { format: entry.plot.format, series: entry.plot.series.map(([, label]) => label), data, most: entry.plot.most, least: entry.plot.least, step: entry.plot.step });
      } else entry.chart.setData(data);
      const newest = entry.plot.series.map(([name, label]) => `${label} ${entry.plot.format(lastKnown(report.series[name]))}`);
      entry.now.textContent = entry.plot.format(lastKnown(report.series[entry.plot.series[0][0]]));
      entry.figure.setAttribute("aria-label", `${entry.plot.title}, now: ${newest.join(", ")}`);
    }
  }

  return {
    show(next) {
      report = next;
      show();
    },
    redraw: () => drawn.forEach(({ chart }) => chart?.redraw()),
  };
}

const lastKnown = (values) => values?.findLast((value) => value !== null);

/** A line chart that follows the width of its holder and the colours of the theme. */
export function lineChart(holder, { format, series, data, most, least = 0, step, time = true }) {
  const colours = ["plot-1", "plot-2"];
  const font = '11px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif';
  const axis = { stroke: () => colour("soft"), font, grid: { stroke: () => colour("line"), width: 1 }, ticks: { stroke: () => colour("line"), width: 1, size: 4 } };
  const chart = new uPlot(
    {
      width: Math.max(120, holder.clientWidth),
      height: 134,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { x: { time }, y: { range: (_, __, highest) => [0, most ?? Math.max(least, niceTop(highest, step))] } },
      axes: [
        { ...axis, size: 26, space: 70, ...(time ? { values: (_, ticks) => ticks.map(clock) } : { incrs: [1, 2, 5, 10, 20, 50] }) },
        { ...axis, size: 58, space: 34, splits: (_, __, low, high) => [low, (low + high) / 2, high], values: (_, ticks) => ticks.map(format) },
      ],
      series: [
        {},
        ...series.map((label, index) => ({ label, stroke: () => colour(colours[index]), width: 1.8, points: { show: data[0].length < 40, size: 4, stroke: () => colour(colours[index]), fill: () => colour(colours[index]) }, spanGaps: true, ...(index === 0 ? { fill: () => `${colour(colours[0])}22` } : {}) })),
      ],
    },
    data,
    holder,
  );
  new ResizeObserver(() => {
    if (holder.clientWidth > 0 && holder.clientWidth !== chart.width) chart.setSize({ width: holder.clientWidth, height: 134 });
  }).observe(holder);
  return chart;
}

/** The smallest of 1, 2, 4, 5 and 10 times a power of ten (or of 1,024) that is not less. */
function niceTop(highest, step = 10) {
  if (!(highest > 0)) return step === 1024 ? 1024 : 1;
  const power = step ** Math.floor(Math.log(highest) / Math.log(step));
  const multiples = step === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 4, 5, 10];
  return power * multiples.find((multiple) => multiple * power >= highest * 0.999);
}

function clock(time) {
  const date = new Date(time * 1000);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}${date.getSeconds() === 0 ? "" : `:${two(date.getSeconds())}`}`;
}
