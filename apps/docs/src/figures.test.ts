/** The figures kept in the repository. */

import { inflateSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { drawMeasured } from "./figures/draw-all.mjs";
import { pngAddress } from "./figures/png.mjs";
import { inlineFigure } from "./inline-figure.mjs";
import { readMeasurements } from "./measurements.mjs";

const docs = join(import.meta.dirname, "..");

describe("figures that follow from the data file", () => {
  const drawn = drawMeasured(readMeasurements(join(docs, "..", "..")));

  it.each(Object.keys(drawn))("%s.svg is drawn from what the file says now (else: node apps/docs/scripts/make-figures.mjs --measured)", (name) => {
    expect(drawn[name] === readFileSync(join(docs, "figures", `${name}.svg`), "utf8")).toBe(true);
  });

  it("put every cache of the table on the plot, and the best ones by name", () => {
    const plot = drawn["bits-and-divergence"]!;
    const { rows } = readMeasurements(join(docs, "..", "..")).tables.find(({ id }) => id === "wikitext-2-no-tail")!;
    expect(plot.match(/<circle /g)).toHaveLength(rows.length - 1);
    for (const name of ["kvq:4.1", "kvq:3.33", "kvq2", "q8_0"]) expect(plot).toContain(`>${name}</text>`);
  });
});

it("writes heat maps as PNG files that hold their pixels", () => {
  const palette = [[1, 2, 3], [250, 128, 0]] as const;
  const bytes = Buffer.from(pngAddress({ width: 3, height: 2, pixels: Uint8Array.of(0, 1, 1, 1, 0, 0), palette }).slice("data:image/png;base64,".length), "base64");
  expect([...bytes.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at)) chunks.set(bytes.toString("latin1", at + 4, at + 8), bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)));
  expect([...chunks.keys()]).toEqual(["IHDR", "PLTE", "IDAT", "IEND"]);
  expect([...chunks.get("IHDR")!]).toEqual([0, 0, 0, 3, 0, 0, 0, 2, 8, 3, 0, 0, 0]);
  expect([...inflateSync(chunks.get("IDAT")!)]).toEqual([0, 0, 1, 1, 0, 1, 0, 0]);
  // CRC-32 of an empty IEND chunk, as in every PNG file.
  expect(bytes.subarray(-4).toString("hex")).toBe("ae426082");
});

it("puts a figure into its page with a description and without its style sheet", () => {
  const html = inlineFigure('<svg viewBox="0 0 1 1">\n<style>\nsvg { color: red }\n</style>\n<text>a</text>\n</svg>\n', 'keys & "values" <below>');
  expect(html).toBe('<figure class="figure" v-pre><svg role="img" aria-label="keys &amp; &quot;values&quot; &lt;below>" viewBox="0 0 1 1"> <text>a</text> </svg> </figure>');
});
