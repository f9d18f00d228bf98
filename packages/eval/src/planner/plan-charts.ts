/** The drawings of a plan's page, as SVG. */

import type { Plan, PlanFigures } from "./plan.js";

/** What the front's drawing shows. */
export interface FrontChart {
  readonly front: readonly PlanFigures[];
  readonly chosen: PlanFigures;
  readonly measured: readonly { readonly bitsPerValue: number; readonly kld: number }[];
}

const [WIDTH, HEIGHT] = [820, 340];
/** Margins around what is drawn. */
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 12, 12, 44];

/** Divergence (logarithmic) over bits. */
export function drawFront({ front, chosen, measured }: FrontChart): string {
  const points = [...front.map(({ bitsPerValue, predictedKld }) => ({ bits: bitsPerValue, kld: predictedKld })), ...measured.map(({ bitsPerValue, kld }) => ({ bits: bitsPerValue, kld }))];
  const positive = points.filter(({ kld }) => kld > 0);
  const [lowBits, highBits] = range(points.map(({ bits }) => bits), 0.5);
  const [lowPower, highPower] = range(positive.map(({ kld }) => Math.log10(kld)), 0.5);
  const x = (bits: number): number => LEFT + ((bits - lowBits) / (highBits - lowBits)) * (WIDTH - LEFT - RIGHT);
  const y = (kld: number): number => TOP + ((highPower - Math.log10(Math.max(kld, 10 ** lowPower))) / (highPower - lowPower)) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (let bits = lowBits; bits <= highBits + 1e-9; bits += 0.5) parts.push(verticalRule(x(bits), bits.toFixed(1)));
  for (let power = lowPower; power <= highPower + 1e-9; power += 0.5) parts.push(horizontalRule(y(10 ** power), (10 ** power).toPrecision(1 + (power % 1 === 0 ? 0 : 1))));
  parts.push(`<polyline class="front" points="${front.map(({ bitsPerValue, predictedKld }) => `${place(x(bitsPerValue))},${place(y(predictedKld))}`).join(" ")}"/>`);
  parts.push(`<circle class="chosen" cx="${place(x(chosen.bitsPerValue))}" cy="${place(y(chosen.predictedKld))}" r="7"><title>${describe("predicted", chosen.bitsPerValue, chosen.predictedKld)}</title></circle>`);
  for (const { bitsPerValue, kld } of measured) parts.push(`<circle class="measured" cx="${place(x(bitsPerValue))}" cy="${place(y(kld))}" r="5"><title>${describe("measured", bitsPerValue, kld)}</title></circle>`);
  parts.push(`<text x="${WIDTH - RIGHT}" y="${HEIGHT - 6}" text-anchor="end">bits a value</text>`, `<text x="${LEFT + 6}" y="${TOP + 12}">KL divergence, nats a token</text>`);
  return svg("Predicted KL divergence against bits a value", HEIGHT, parts);
}

/** Two bars a layer: true bits of keys and of values. */
export function drawLayers({ tensors }: Plan): string {
  const height = 220;
  const layers = tensors.length / 2;
  const highest = Math.ceil(Math.max(...tensors.map(({ bits }) => bits)));
  const slot = (WIDTH - LEFT - RIGHT) / layers;
  const y = (bits: number): number => TOP + (1 - bits / highest) * (height - TOP - BOTTOM);
  const parts: string[] = [];
  for (let bits = 0; bits <= highest; bits++) parts.push(horizontalRule(y(bits), `${bits}`));
  for (const { layer, side, option, bits } of tensors) {
    const left = LEFT + layer * slot + (side === "key" ? 0.1 : 0.5) * slot;
    parts.push(`<rect class="${side}" x="${place(left)}" y="${place(y(bits))}" width="${place(0.38 * slot)}" height="${place(y(0) - y(bits))}"><title>layer ${layer}, ${side}s: ${option}, ${bits.toFixed(2)} bits</title></rect>`);
  }
  const every = Math.ceil(layers / 32);
  for (let layer = 0; layer < layers; layer += every) parts.push(`<text x="${place(LEFT + (layer + 0.5) * slot)}" y="${height - BOTTOM + 16}" text-anchor="middle">${layer}</text>`);
  const legend = height - 8;
  parts.push(`<rect class="key" x="${LEFT}" y="${legend - 10}" width="10" height="10"/><text x="${LEFT + 16}" y="${legend}">keys</text>`);
  parts.push(`<rect class="value" x="${LEFT + 70}" y="${legend - 10}" width="10" height="10"/><text x="${LEFT + 86}" y="${legend}">values</text>`);
  parts.push(`<text x="${WIDTH - RIGHT}" y="${legend}" text-anchor="end">layer</text>`);
  return svg("True bits of keys and values of each layer", height, parts);
}

/** Bounds of the numbers on multiples of `step`, at least one step apart. */
function range(values: readonly number[], step: number): [number, number] {
  const low = Math.floor(Math.min(...values) / step) * step;
  const high = Math.ceil(Math.max(...values) / step) * step;
  return Number.isFinite(low) && Number.isFinite(high) ? [low, Math.max(high, low + step)] : [0, step];
}

function verticalRule(x: number, label: string): string {
  return `<line class="rule" x1="${place(x)}" x2="${place(x)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/><text x="${place(x)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${label}</text>`;
}

function horizontalRule(y: number, label: string): string {
  return `<line class="rule" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${place(y)}" y2="${place(y)}"/><text x="${LEFT - 8}" y="${place(y + 4)}" text-anchor="end">${label}</text>`;
}

function describe(kind: string, bits: number, kld: number): string {
  return `${kind}: ${bits.toFixed(3)} bits, ${kld.toPrecision(3)}`;
}

function place(value: number): string {
  return value.toFixed(1);
}

function svg(label: string, height: number, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${parts.join("")}</svg>`;
}
