// How far the quantized cache is from fp16, as the server's monitor measures it.
import { byId, fillFigures } from "./dom.js";
import { count, divergence, percent } from "./format.js";
import { lineChart } from "./plots.js";

export function createFidelity() {
  const holder = byId("fidelity-plot");
  let models = {};
  let chart;

  function show(name) {
    const figures = models[name];
    if (figures === undefined) return;
    const state = byId("fidelity-state");
    const [kind, text] = !figures.enabled ? ["off", "not measured"] : figures.samples === 0 ? ["off", "no sample yet"] : figures.over ? ["bad", "over the threshold"] : ["ok", "within the threshold"];
    state.dataset.state = kind;
    if (state.textContent !== text) state.textContent = text;
    const { last = [] } = figures;
    fillFigures(byId("fidelity-figures"), figures.enabled ? [
      ["KL divergence, mean", divergence(figures.kldMean), "nats a position, over the newest samples"],
      ["Largest", divergence(figures.kldMax)],
      ["Threshold", divergence(figures.threshold)],
      ["Same first choice", percent(figures.top1), "positions where both caches find the same token likeliest"],
      ["Requests scored", count(figures.samples)],
      ["Positions", count(figures.positions)],
    ] : []);
    holder.hidden = last.length === 0;
    if (last.length === 0) return;
    const data = [last.map((_, index) => index + 1), last.map(({ kld }) => kld), last.map(() => figures.threshold)];
    if (chart === undefined) chart = lineChart(holder, { format: divergence, series: ["sample", "threshold"], data, time: false });
    else chart.setData(data);
    holder.setAttribute("role", "img");
    holder.setAttribute("aria-label", `KL divergence of the last ${last.length} scored requests, newest ${divergence(last.at(-1).kld)}, threshold ${divergence(figures.threshold)}`);
  }

  return {
    update(next, name) {
      models = next;
      show(name);
    },
    show,
    redraw: () => chart?.redraw(),
  };
}
