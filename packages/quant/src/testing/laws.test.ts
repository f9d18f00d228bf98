import { linear } from "@kvquant/packing";
import { describe, expect, it } from "vitest";
import { baselineNames, channelKeys, hadamard, nonUniform, normalize, outliers, pageKeys, parsePreset, presetNames, staged, tokenValues, uniform } from "../index.js";
import type { Quantizer } from "../index.js";
import { assertLaws, makePage, makeStatistics } from "./index.js";

const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 32 };
const statistics = makeStatistics({ shape }).layers[0]!;
const pages = makePage(shape);

/** Feedback and rotation trade plain error for weighted error; offline min-max ranges at 2 bits are as coarse as the data is wide. */
function bound(name: string): { nmse?: number } {
  if (/^keys-|^nuq2$/.test(name)) return { nmse: name.endsWith(":4") ? 0.3 : name.endsWith(":2") ? 8 : 1.5 };
  return {};
}

describe("built-in quantizers", () => {
  for (const name of presetNames.filter((each) => !baselineNames.includes(each))) {
    it(`${name} keeps every law`, () => {
      const { key, value } = parsePreset(name);
      assertLaws({ quantizer: key, statistics, page: pages.k, ...bound(name) });
      assertLaws({ quantizer: value, statistics, page: pages.v, ...bound(name) });
    });
  }

  it("keep the laws at 5 bits, with a head dim that has no lanes, and with partial rotary", () => {
    const odd = { layers: 1, queryHeads: 2, kvHeads: 2, headDim: 24 };
    const oddStatistics = makeStatistics({ shape: odd, rotaryDim: 16 }).layers[0]!;
    const page = makePage(odd);
    for (const quantizer of [channelKeys({ bits: 5, outliers: 0.01, feedback: true }), pageKeys({ bits: 3 })]) assertLaws({ quantizer, statistics: oddStatistics, page: page.k });
    assertLaws({ quantizer: tokenValues({ bits: 5, outliers: 0.01 }), statistics: oddStatistics, page: page.v });
    assertLaws({ quantizer: parsePreset("kvq4").value, statistics: oddStatistics, page: page.v });
  });
});

describe("composed quantizers", () => {
  const composed: [string, Quantizer][] = [
    ["outliers and channel scales with learned levels", staged({ id: "test/a", side: "key", stages: [outliers({ axis: "channel", fraction: 0.01 }), normalize({ axis: "channel" })], coder: nonUniform({ bits: 3 }), packing: linear(3) })],
    ["token outliers and token scales with learned levels", staged({ id: "test/b", side: "value", stages: [outliers({ axis: "token", fraction: 0.01 }), normalize({ axis: "token" })], coder: nonUniform({ bits: 4 }), packing: linear(4) })],
    ["a rotation before an even grid", staged({ id: "test/c", side: "value", stages: [hadamard(), normalize({ axis: "token" })], coder: uniform({ bits: 8 }), packing: linear(8) })],
  ];
  for (const [title, quantizer] of composed) {
    it(`${title} keep every law`, () => assertLaws({ quantizer, statistics, page: quantizer.side === "key" ? pages.k : pages.v }));
  }

  it("refuse learned levels where the statistics do not know the data", () => {
    const quantizer = staged({ id: "test/d", side: "value", stages: [hadamard(), normalize({ axis: "token" })], coder: nonUniform({ bits: 3 }), packing: linear(3) });
    expect(() => quantizer.fit(statistics)).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
