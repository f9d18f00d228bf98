// A heat map with its axes and a scale of colours.
import { at, colour, label } from "./drawing.mjs";
import { pngAddress } from "./png.mjs";

/** @typedef {import("./measure.mjs").Grid} Grid */

/** From nothing to much, told apart without colour too; read on light and dark ground alike. @type {readonly (readonly [number, number, number])[]} */
const STOPS = [
  [13, 8, 58],
  [64, 25, 125],
  [150, 44, 122],
  [224, 88, 84],
  [251, 165, 73],
  [250, 243, 172],
];
const PALETTE = Array.from({ length: 256 }, (_, index) => between(index / 255));

/**
 * Numbers `[tokens, channels]`, tokens to the right and channels down.
 * @param {Grid} grid
 * @param {{ width: number, height: number, title: string, maximum: number, columns?: readonly [number, number], yTitle?: string }} options
 *   `maximum`: of the colour scale, what is above takes its end; `columns`: first channel and the one after the last
 * @returns {string}
 */
export function heatMap({ rows, cols, values }, { width, height, title, maximum, columns = [0, cols], yTitle = "channel" }) {
  const [first, end] = columns;
  const channels = end - first;
  const pixels = new Uint8Array(channels * rows);
  for (let channel = 0; channel < channels; channel++) {
    for (let token = 0; token < rows; token++) {
      const value = /** @type {number} */ (values[token * cols + first + channel]);
      pixels[channel * rows + token] = Math.round(255 * Math.min(1, value / maximum));
    }
  }
  const address = pngAddress({ width: rows, height: channels, pixels, palette: PALETTE });
  const marks = [0, 64, 128, 192, 256].filter((token) => token <= rows);
  return [
    label(0, -8, title, { fill: colour.ink, bold: true }),
    `<image href="${address}" width="${width}" height="${height}" preserveAspectRatio="none" style="image-rendering:pixelated"/>`,
    ...marks.map((token) => label((token / rows) * width, height + 15, String(token), { anchor: token === 0 ? "start" : "middle", size: 11 })),
    label(width / 2, height + 31, "token", { anchor: "middle" }),
    label(-8, height / 2, yTitle, { anchor: "middle", turned: true }),
  ].join("");
}

/** The scale of colours, from 0 to `maximum`. @param {{ x: number, y: number, height: number, maximum: number }} options @returns {string} */
export function colourScale({ x, y, height, maximum }) {
  const pixels = Uint8Array.from({ length: 256 }, (_, index) => 255 - index);
  const address = pngAddress({ width: 1, height: 256, pixels, palette: PALETTE });
  const image = `<image href="${address}" width="12" height="${height}" preserveAspectRatio="none"/>`;
  return at(x, y, `${image}${label(17, 9, `${maximum}`, { size: 11 })}${label(17, height, "0", { size: 11 })}`);
}

/** @param {number} share from 0 to 1 @returns {readonly [number, number, number]} */
function between(share) {
  const place = share * (STOPS.length - 1);
  const below = Math.min(Math.floor(place), STOPS.length - 2);
  const [from, to] = /** @type {[readonly number[], readonly number[]]} */ ([STOPS[below], STOPS[below + 1]]);
  const mix = (/** @type {number} */ index) => Math.round(/** @type {number} */ (from[index]) + (place - below) * (/** @type {number} */ (to[index]) - /** @type {number} */ (from[index])));
  return [mix(0), mix(1), mix(2)];
}
