/** The example of a quantizer of one's own, as a user has it: a plain file, imported by its path. */

import { fileURLToPath, pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import { integer, quantizerKit, turbo } from "@kvquant/quant";
import type { LayerPreset, Quantizer } from "@kvquant/quant";
import { assertLaws, makePage, makeStatistics } from "@kvquant/quant/testing";
import { bitsPerValue } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import { beforeAll, describe, expect, it } from "vitest";

const path = fileURLToPath(new URL("../custom-quantizer/quantizer.mjs", import.meta.url));
const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 64 };
const statistics = makeStatistics({ shape, windows: 1 }).layers[0]!;
const page = makePage(shape);
let example: LayerPreset;

beforeAll(async () => {
  const { default: make } = (await import(pathToFileURL(path).href)) as { readonly default: (kit: typeof quantizerKit) => LayerPreset };
  example = make(quantizerKit);
});

/** Squared error over the page's squares. */
function errorOf(quantizer: Quantizer, x: Matrix): number {
  const codec = quantizer.open(quantizer.fit(statistics));
  const out = { ...x, data: new Float32Array(x.data.length) };
  codec.decode(codec.encode(x), out);
  return x.data.reduce((sum, value, index) => sum + (value - out.data[index]!) ** 2, 0) / x.data.reduce((sum, value) => sum + value ** 2, 0);
}

describe("the example of a custom quantizer", () => {
  it("is at most 60 lines and imports nothing", () => {
    const source = readFileSync(path, "utf8");
    expect(source.trimEnd().split("\n").length).toBeLessThanOrEqual(60);
    expect(source).not.toMatch(/^import /m);
  });

  it("keeps every law", () => {
    assertLaws({ quantizer: example.key, statistics, page: page.k, nmse: 0.06 });
    assertLaws({ quantizer: example.value, statistics, page: page.v, nmse: 0.06 });
  });

  it("spends 3.5 bits on heads of 64: codes of 3, a mean for 64 tokens, a scale for 64 channels", () => {
    for (const [quantizer, x] of [[example.key, page.k], [example.value, page.v]] as const) {
      expect(bitsPerValue(quantizer.open(quantizer.fit(statistics)).encode(x), x.cols)).toBe(3 + 16 / 64 + 16 / 64);
    }
  });

  it("loses less than either of its stages alone on keys whose channels lie on one side of zero", () => {
    const ours = errorOf(example.key, page.k);
    expect(ours).toBeLessThan(0.5 * errorOf(turbo({ side: "key", bits: 3 }), page.k));
    expect(ours).toBeLessThan(0.8 * errorOf(integer({ side: "key", bits: 3, axis: "channel" }), page.k));
  });
});
