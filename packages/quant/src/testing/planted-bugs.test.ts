/** A quantizer with one bug planted for each law: the suite finds each, and names the law that it breaks. */

import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { integer, pageKeys } from "../index.js";
import type { LayerStatistics, Quantizer } from "../index.js";
import { findBrokenLaws, makePage, makeStatistics, quantizerLaws } from "./index.js";

const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 32 };
const statistics = makeStatistics({ shape }).layers[0]!;
const page = makePage(shape).k;
const good = integer({ side: "key", bits: 8, axis: "channel" });
const learned = pageKeys({ bits: 4 });

/** The quantizer with parts of its codec replaced. */
function withCodec(change: (codec: BlockCodec, artifact: QuantizerArtifact) => Partial<BlockCodec>, base: Quantizer = good): Quantizer {
  return {
    ...base,
    open(artifact) {
      const codec = base.open(artifact);
      return { ...codec, ...change(codec, artifact) };
    },
  };
}

const noted = (block: EncodedBlock, change: (bytes: Uint8Array) => void): EncodedBlock => {
  change(block.bytes);
  return block;
};
const clean = (x: Matrix): Matrix => ({ ...x, data: x.data.map((value) => (Number.isFinite(value) ? value : 0)) });

/** Keeps the norm of the last page beside the bytes instead of in them. */
function sideDataOutside(): Quantizer {
  let last = 1;
  return withCodec((codec) => ({
    encode(x) {
      last = Math.max(...x.data.map(Math.abs)) || 1;
      return codec.encode({ ...x, data: x.data.map((value) => value / last) });
    },
    decode(block, out) {
      codec.decode(block, out);
      out.data.forEach((value, index) => (out.data[index] = value * last));
    },
  }));
}

/** Remembers the statistics it was last fitted to. */
function memory(): Quantizer {
  let seen = 0;
  return {
    ...learned,
    fit(layer) {
      seen = layer.tokens;
      return learned.fit(layer);
    },
    open(artifact) {
      const codec = learned.open(artifact);
      return { ...codec, encode: (x) => codec.encode({ ...x, data: x.data.map((value) => value + seen / 1e4) }) };
    },
  };
}

let fits = 0;
let encoded = 0;
let scratch = new Uint8Array(0);

/** [law that must be named, what is planted, quantizer] */
const planted: [RegExp, string, Quantizer][] = [
  [/^is a plain object/, "an id without a name space", { ...good, id: "mine", fit: (layer) => ({ ...good.fit(layer), id: "mine" }), open: (artifact) => good.open({ ...artifact, id: good.id }) }],
  [/^fits to the same artifact/, "a fit that counts its calls", { ...good, fit: (layer) => ({ ...good.fit(layer), arrays: { ...good.fit(layer).arrays, calls: Float32Array.of(fits++) } }) }],
  [/^leaves the calibration statistics alone/, "a fit that sorts the statistics", { ...good, fit: (layer: LayerStatistics) => (layer.key.minimum.sort(), good.fit(layer)) }],
  [/^keeps what it learned in the artifact/, "a memory of what it was fitted to", memory()],
  [/^works the same after its artifact went through a \.kvq file/, "an artifact of numbers that no file holds", { ...good, fit: (layer) => ({ ...good.fit(layer), bits: 7 as 8 }) }],
  [/^refuses another quantizer's artifact/, "an open that looks at no id", { ...good, open: (artifact) => good.open({ ...artifact, id: good.id }) }],
  [/^encodes the same page to the same bytes/, "one buffer for all blocks", withCodec((codec) => ({
    encode(x) {
      const block = codec.encode(x);
      if (scratch.length < block.bytes.length) scratch = new Uint8Array(block.bytes.length);
      scratch.set(block.bytes);
      return { ...block, bytes: scratch.subarray(0, block.bytes.length) };
    },
  }))],
  [/whatever its neighbours/, "a difference to the page before", withCodec((codec) => {
    let previous: Float32Array | undefined;
    return {
      encode(x) {
        const before = previous;
        previous = x.data.slice();
        return codec.encode({ ...x, data: before?.length === x.data.length ? x.data.map((value, index) => value - before[index]! / 8) : x.data });
      },
    };
  })],
  [/its place in the sequence/, "a dither by the number of the page", withCodec((codec) => ({ encode: (x) => noted(codec.encode(x), (bytes) => (bytes[0]! ^= Math.floor(encoded++ / 40) & 1)) }))],
  [/where its rows lie in memory/, "a read of the whole buffer", withCodec((codec) => ({ encode: (x) => codec.encode({ ...x, data: new Float32Array(x.data.buffer, 0, x.data.length) }) }))],
  [/^leaves its input alone/, "a rounding in place", withCodec((codec) => ({ encode: (x) => (x.data.forEach((value, index) => (x.data[index] = Math.round(value * 1024) / 1024)), codec.encode(x)) }))],
  [/^refuses NaN/, "NaN taken for zero", withCodec((codec) => ({ encode: (x) => codec.encode(clean(x)) }))],
  [/^refuses NaN.*no tokens/, "an empty page", withCodec((codec) => ({ encode: (x) => (x.rows === 0 ? { tokens: 0, bytes: new Uint8Array(0), saturated: 0, clamped: 0 } : codec.encode(x)) }))],
  [/^decodes a page to within the error bound/, "a scale that is off by a tenth", withCodec((codec) => ({ decode: (block, out) => (codec.decode(block, out), out.data.forEach((value, index) => (out.data[index] = value * 1.1))) }))],
  [/^encodes pages of 1, 2, 63/, "pages that are always full", withCodec((codec) => ({ encode: (x) => ({ ...codec.encode(x), tokens: 64 }) }))],
  [/^decodes zeros, equal numbers/, "a division by the page's range", withCodec((codec) => ({ decode: (block, out) => (codec.decode(block, out), out.data.forEach((value, index) => (out.data[index] = (value / (out.data[0]! - out.data[1]!)) * (out.data[0]! - out.data[1]!)))) }))],
  [/^decodes a block the same/, "sums into the output", withCodec((codec) => ({ decode(block, out) {
    const before = out.data.map((value) => (Number.isFinite(value) ? 1 : 0));
    codec.decode(block, out);
    out.data.forEach((value, index) => (out.data[index] = value + before[index]!));
  } }))],
  [/^counts everything it stores/, "side data outside the bytes", sideDataOutside()],
  [/^spends at least its code bits/, "a claim of more bits than are spent", { ...integer({ side: "key", bits: 4, axis: "channel" }), fit: (layer) => ({ ...integer({ side: "key", bits: 4, axis: "channel" }).fit(layer), bits: 8 }), open: (artifact) => good.open({ ...artifact, bits: 4 }) }],
  [/counts its damage/, "damage that is no number", withCodec((codec) => ({ encode: (x) => ({ ...codec.encode(x), saturated: Number.NaN }) }))],
  [/^refuses an output of another shape/, "an output of any shape", withCodec((codec) => ({ decode(block, out) {
    const whole = { data: new Float32Array(block.tokens * page.cols), rows: block.tokens, cols: page.cols };
    codec.decode(block, whole);
    out.data.set(whole.data.subarray(0, out.data.length));
  } }))],
  [/^refuses cut and lengthened blocks/, "missing bytes read as zeros", withCodec((codec) => ({ decode(block, out) {
    const bytes = new Uint8Array(page.data.length + 4 * page.cols);
    bytes.set(block.bytes.subarray(0, bytes.length));
    codec.decode(block.tokens === 64 ? { ...block, bytes } : block, out);
  } }))],
  [/^decodes changed bytes/, "an error of another kind for damage", withCodec((codec) => ({ decode(block, out) {
    try {
      codec.decode(block, out);
    } catch (error) {
      throw KvquantError.isInstance(error) && error.code === "CORRUPT_DATA" && block.bytes.length === page.data.length + 4 * page.cols ? new RangeError("bad byte") : error;
    }
  } }))],
];

describe("the conformance suite", () => {
  it("finds nothing wrong with the quantizers that bugs are planted in", () => {
    expect(findBrokenLaws({ quantizer: good, statistics, page })).toEqual([]);
    expect(findBrokenLaws({ quantizer: learned, statistics, page })).toEqual([]);
  });

  for (const [law, what, quantizer] of planted) {
    it(`names the law that ${what} breaks`, () => {
      const broken = findBrokenLaws({ quantizer, statistics: structuredClone(statistics), page: { ...page, data: page.data.slice() } });
      expect(broken.some((line) => law.test(line)), broken.join("\n")).toBe(true);
    });
  }

  it("has a planted bug for every law", () => {
    for (const { title } of quantizerLaws) expect(planted.some(([law]) => law.test(title)), title).toBe(true);
  });
});
