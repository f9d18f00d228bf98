// The figures of a soak as a page without anything from outside.

/** @typedef {import("./probe.mjs").ProbeSample & { seconds: number, requests: number }} SoakSample */

const width = 760;
const height = 180;
const left = 64;

/** @type {{ title: string, unit: string, read: (sample: SoakSample) => number }[]} */
const plots = [
  { title: "Memory behind no file (RssAnon)", unit: "MiB", read: (sample) => sample.anonymous / 2 ** 20 },
  { title: "Resident memory, mapped pages of the store included", unit: "MiB", read: (sample) => sample.rss / 2 ** 20 },
  { title: "JavaScript heap after collection", unit: "MiB", read: (sample) => sample.heap / 2 ** 20 },
  { title: "Buffers outside the heap", unit: "MiB", read: (sample) => sample.external / 2 ** 20 },
  { title: "Open handles", unit: "", read: (sample) => sample.handles },
  { title: "Event loop delay, p99 of the interval", unit: "ms", read: (sample) => sample.loopP99 },
];

/** @param {import("../soak.mjs").SoakResult} result */
export function renderSoak(result) {
  const { samples, ...summary } = result;
  const lines = plots.map((plot) => `<h2>${plot.title}</h2>${renderPlot(samples, plot)}`);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Soak of the server</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}h2{font-size:1rem;margin:1.5rem 0 .25rem}pre{overflow:auto}svg{max-width:100%}</style><h1>Soak of the server</h1>${lines.join("")}<h2>Figures</h2><pre>${JSON.stringify(summary, undefined, 2).replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</pre></html>\n`;
}

/** @param {readonly SoakSample[]} samples @param {typeof plots[number]} plot */
function renderPlot(samples, { title, unit, read }) {
  const values = samples.map(read);
  const top = Math.max(1, ...values) * 1.1;
  const end = Math.max(1, samples.at(-1)?.seconds ?? 1);
  const x = (/** @type {number} */ seconds) => (left + ((width - left) * seconds) / end).toFixed(1);
  const y = (/** @type {number} */ value) => (height - 20 - ((height - 30) * value) / top).toFixed(1);
  const points = samples.map((sample, index) => `${x(sample.seconds)},${y(values[index] ?? 0)}`).join(" ");
  const marks = [0, 0.5, 1].map((share) => `<text x="${left - 6}" y="${Number(y(top * share)) + 4}" text-anchor="end">${(top * share).toPrecision(3)}</text><line x1="${left}" x2="${width}" y1="${y(top * share)}" y2="${y(top * share)}" stroke="#ddd"/>`);
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" font-size="12" fill="#555">${marks.join("")}<text x="${left}" y="${height - 4}">0</text><text x="${width}" y="${height - 4}" text-anchor="end">${(end / 60).toFixed(1)} min${unit === "" ? "" : `, ${unit}`}</text><polyline points="${points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/></svg>`;
}
