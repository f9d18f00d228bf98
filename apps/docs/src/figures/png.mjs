// Heat maps as pictures: one pixel a number, which as rectangles of SVG would be a hundred times larger.
import { deflateSync } from "node:zlib";
import { crc32 } from "@kvquant/quant";

/**
 * A PNG with a palette, as a data address.
 * @param {{ width: number, height: number, pixels: Uint8Array, palette: readonly (readonly [number, number, number])[] }} image `pixels` `[height, width]`: places in the palette of at most 256 colours
 * @returns {string}
 */
export function pngAddress({ width, height, pixels, palette }) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits a pixel
  header.setUint8(9, 3); // a palette
  const rows = new Uint8Array(height * (width + 1)); // each behind a 0: no filter
  for (let row = 0; row < height; row++) rows.set(pixels.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  const chunks = [
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("PLTE", Uint8Array.from(palette.flat())),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", new Uint8Array()),
  ];
  return `data:image/png;base64,${Buffer.concat([Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), ...chunks]).toString("base64")}`;
}

/** @param {string} name @param {Uint8Array} data */
function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(Buffer.from(name, "latin1"), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}
