// A diagram: what the newest query sees of a cache of 300 tokens.
import { colour, figure, label } from "./drawing.mjs";

const [blue, orange, green] = colour.series;
/** Tokens of the cache, of its sinks, its tail and its pages. */
const [TOKENS, SINKS, TAIL, PAGE] = [300, 1, 64, 64];
const LEFT = 20;
const WIDTH = 720;
/** A sink is drawn wider than it is, to be seen. */
const SINK_WIDTH = 14;

/** Sinks, compressed pages, the page that still has tokens in the tail, and the open one. */
export function pagesSinksTail() {
  const place = (/** @type {number} */ token) => LEFT + SINK_WIDTH + 4 + ((token - SINKS) / (TOKENS - SINKS)) * (WIDTH - SINK_WIDTH - 4);
  const box = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ fill, /** @type {number} */ opacity) =>
    `<rect x="${place(from) + 1}" y="60" width="${place(to) - place(from) - 2}" height="54" rx="3" fill="${fill}" fill-opacity="${opacity}" stroke="${fill}"/>`;
  const pages = Math.floor((TOKENS - SINKS) / PAGE);
  const parts = [`<rect x="${LEFT}" y="60" width="${SINK_WIDTH}" height="54" rx="3" fill="${green}" fill-opacity="0.4" stroke="${green}"/>`];
  parts.push(label(LEFT, 50, "sink", { fill: green, bold: true }), label(LEFT, 132, "0", { size: 11 }));
  for (let page = 0; page <= pages; page++) {
    const from = SINKS + page * PAGE;
    const to = Math.min(TOKENS, from + PAGE);
    const compressed = to - 1 <= TOKENS - 1 - TAIL;
    const fill = compressed ? blue : orange;
    const middle = (place(from) + place(to)) / 2;
    parts.push(box(from, to, fill, compressed ? 0.4 : 0.15), label(middle, 84, page === pages ? "open page" : `page ${page}`, { anchor: "middle", fill: colour.ink, bold: true }));
    parts.push(label(middle, 102, compressed ? "2 to 4 bits" : "fp16", { anchor: "middle", fill: colour.ink, size: 11 }), label(place(from) + 2, 132, String(from), { size: 11 }));
  }
  const tail = place(TOKENS - TAIL);
  parts.push(`<path d="M${tail} 40 V34 H${LEFT + WIDTH} V40" fill="none" stroke="${colour.ink}"/>`, label(LEFT + WIDTH, 26, `tail: the newest ${TAIL} tokens, always exact`, { anchor: "end", fill: colour.ink }));
  parts.push(`<path d="M${tail} 44 V120" stroke="${colour.ink}" stroke-dasharray="4 3"/>`);
  parts.push(label(LEFT + WIDTH, 132, `query at ${TOKENS - 1}`, { anchor: "end", size: 11, fill: colour.ink }));
  const told = ["Position 0 gathers attention in every layer: kept in fp16.", "All of its 64 tokens are behind the tail: keys and values are read compressed.", "Some of its tokens are in the tail, or it is not full yet: read in fp16."];
  for (const [index, text] of told.entries()) {
    const y = 160 + 22 * index;
    const fill = [green, blue, orange][index] ?? blue;
    parts.push(`<rect x="${LEFT}" y="${y - 11}" width="14" height="14" rx="2" fill="${fill}" fill-opacity="${index === 2 ? 0.15 : 0.4}" stroke="${fill}"/>`, label(LEFT + 24, y, text, { fill: colour.ink }));
  }
  return figure(760, 220, parts);
}
