import { linear } from "@kvquant/packing";
import type { Matrix } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { artifactTableBytes, baselineNames, checkArtifactModel, createStatisticsCollector, decodeArtifact, encodeArtifact, fitArtifact, normalize, openArtifact, parsePreset, presetNames, quantizerTableBytes, staged, uniform } from "../index.js";
import type { CachePreset, KvqArtifact } from "../index.js";
import { makeMatrix, makePage, makeStatistics, normalNumbers } from "../testing/index.js";
import { encodeContainer } from "./container.js";
import { crc32 } from "./crc32.js";

const shape = { layers: 2, queryHeads: 2, kvHeads: 1, headDim: 8 };
const statistics = makeStatistics({ shape, tokens: 200, windows: 1 });
const identity = {
  model: { fingerprint: "sha256:0123", name: "tiny", architecture: "llama" },
  calibration: { textFingerprint: "sha256:4567", sequences: 1, length: 200, tokens: 200, sensitivity: "fisher", method: "kvquant/test", methodVersion: 1 },
} as const;

/** Presets of this project; baselines have tests of their own, on heads that are large enough for them. */
const ownPresets = presetNames.filter((name) => !baselineNames.includes(name));

function fit(preset: CachePreset | string): KvqArtifact {
  return fitArtifact(typeof preset === "string" ? parsePreset(preset) : preset, statistics, identity);
}

/** Sets the checksum of changed bytes right again, so that what lies behind it is tested. */
function reseal(bytes: Uint8Array): Uint8Array {
  const head = new Uint8Array(12);
  head.set(bytes.subarray(0, 8));
  new DataView(head.buffer).setUint32(8, crc32(bytes, 12), true);
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(8, crc32(head), true);
  return bytes;
}

describe("a .kvq file", () => {
  it("gives back exactly what was fitted, for every preset", () => {
    for (const name of ownPresets) {
      const artifact = fit(name);
      const bytes = encodeArtifact(artifact);
      expect(decodeArtifact(bytes)).toEqual(artifact);
      expect(encodeArtifact(decodeArtifact(bytes))).toEqual(bytes);
    }
  });

  it("carries the plan it was fitted to, and is refused when that is none", () => {
    const options = [{ key: "page:3", value: "rotated:2" }, { key: "page:2", value: "rotated:4" }];
    const planned = { ...fit("kvq3"), plan: { bitsPerValue: 3, predictedKld: 0.04, measuredKld: 0.05, options } };
    expect(decodeArtifact(encodeArtifact(planned))).toEqual(planned);
    const unverified = { ...planned, plan: { bitsPerValue: 3, predictedKld: 0.04, options } };
    expect(decodeArtifact(encodeArtifact(unverified))).toEqual(unverified);
    const others = [{ options: options.slice(1) }, { predictedKld: NaN }, { measuredKld: NaN }, { options: [options[0]!, { key: "page:2", value: 4 }] }, { options: [options[0]!, { key: undefined, value: "rotated:4" }] }];
    for (const other of others) {
      const plan = { ...planned.plan, ...other } as typeof planned.plan;
      expect(() => decodeArtifact(encodeArtifact({ ...planned, plan }))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });

  it("is refused with CORRUPT_DATA whichever byte is changed", () => {
    const bytes = encodeArtifact(fit("nuq3-1%+fb"));
    const changed = bytes.slice();
    for (let place = 0; place < bytes.length; place++) {
      changed[place] = bytes[place]! ^ (1 + (place % 255));
      expect(() => decodeArtifact(changed)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
      changed[place] = bytes[place]!;
    }
  });

  it("is refused with CORRUPT_DATA wherever it is cut, and when bytes follow it", () => {
    const bytes = encodeArtifact(fit("kvq3"));
    for (let length = 0; length < bytes.length; length += 7) expect(() => decodeArtifact(bytes.subarray(0, length))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    const longer = new Uint8Array(bytes.length + 8);
    longer.set(bytes);
    expect(() => decodeArtifact(longer)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => decodeArtifact(reseal(longer))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("of a newer version is UNSUPPORTED, of version 0 corrupt", () => {
    const bytes = encodeArtifact(fit("kvq3"));
    const view = new DataView(bytes.buffer);
    view.setUint32(4, 2, true);
    expect(() => decodeArtifact(reseal(bytes))).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }));
    view.setUint32(4, 0, true);
    expect(() => decodeArtifact(reseal(bytes))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("with absurd sizes under a right checksum is CORRUPT_DATA, without allocating for them", () => {
    const bytes = encodeArtifact(fit("kvq3"));
    for (const length of [0n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n]) {
      const changed = bytes.slice();
      new DataView(changed.buffer).setBigUint64(12, length, true);
      expect(() => decodeArtifact(reseal(changed))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
    const text = new TextDecoder().decode(bytes.subarray(20));
    for (const [from, to] of [['["f16",3]', '["f16",9]'], ['["f16",3]', '["f99",3]'], ['"layers":2', '"layers":9'], ['"kvHeads":1', '"kvHeads":0'], ['"bits":3', '"bits":7']] as const) {
      const place = text.indexOf(from);
      expect(place).toBeGreaterThan(0);
      const changed = bytes.slice();
      changed.set(new TextEncoder().encode(to), 20 + place);
      expect(() => decodeArtifact(reseal(changed))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });

  it("starts with the letters KVQA, and lists arrays by name whatever their order was", () => {
    const artifact = fit("nuq3-1%+fb");
    const bytes = encodeArtifact(artifact);
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe("KVQA");
    const turned = artifact.layers.map(({ key, value }) => ({ key: { ...key, arrays: Object.fromEntries(Object.entries(key.arrays).reverse()) }, value }));
    expect(encodeArtifact({ ...artifact, layers: turned })).toEqual(bytes);
  });

  it("whose quantizer has a stage without a name is CORRUPT_DATA", () => {
    const artifact = fit("kvq3");
    const layers = artifact.layers.map(({ key, value }) => ({ key: { ...key, stages: [3 as unknown as string] }, value }));
    expect(() => decodeArtifact(encodeArtifact({ ...artifact, layers }))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("stage") as string }));
  });

  it("with a header of any other JSON is CORRUPT_DATA", () => {
    const kind = { magic: "KVQA", version: 1, name: "test" };
    for (const header of [null, 3, "x", [], {}, { layers: 5 }, { cache: "a", model: {} }]) {
      expect(() => decodeArtifact(encodeContainer(kind, { header, arrays: [] }))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });

  it("of a calibration without known sensitivity, lengths or method is CORRUPT_DATA, and so is one without sinks", () => {
    const artifact = fit("kvq3");
    const { calibration } = artifact;
    for (const change of [{ sensitivity: "guessed" }, { sensitivity: undefined }, { method: 3 }, { textFingerprint: undefined }, { sequences: -1 }, { length: 1.5 }, { tokens: undefined }, { methodVersion: "1" }]) {
      expect(() => decodeArtifact(encodeArtifact({ ...artifact, calibration: { ...calibration, ...change } as typeof calibration }))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining(Object.keys(change)[0]!) as string }));
    }
    for (const sinkTokens of [-1, 0.5, undefined]) expect(() => decodeArtifact(encodeArtifact({ ...artifact, sinkTokens: sinkTokens as number }))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("stores halves in 2 bytes, and artifactTableBytes counts the same", () => {
    const artifact = fit("nuq3-1%+fb");
    const tables = artifactTableBytes(artifact);
    const empty = encodeArtifact({ ...artifact, layers: artifact.layers.map(({ key, value }) => ({ key: { ...key, arrays: {} }, value: { ...value, arrays: {} } })) }).length;
    const whole = encodeArtifact(artifact).length;
    expect(whole - empty).toBeGreaterThan(tables);
    const values = artifact.layers.flatMap(({ key, value }) => [...Object.values(key.arrays), ...Object.values(value.arrays)]).reduce((sum, array) => sum + array.length, 0);
    expect(tables).toBeGreaterThan(2 * values);
    expect(tables).toBeLessThan(4 * values);
  });

  it("has tables of 2 bytes a number where halves lose nothing, else 4, array by array", () => {
    const empty = { id: "my/values", bits: 2, packing: "linear-2", stages: [] } as const;
    expect(quantizerTableBytes({ ...empty, arrays: { halves: Float32Array.of(0.5, 0.25, -1), floats: Float32Array.of(1, 0.1), none: new Float32Array(0) } })).toBe(14);
    expect(quantizerTableBytes({ ...empty, arrays: {} })).toBe(0);
    const { key, value } = fit("nuq3").layers[0]!;
    expect(artifactTableBytes({ ...fit("nuq3"), layers: [{ key, value }] })).toBe(quantizerTableBytes(key) + quantizerTableBytes(value));
  });

  it("carries a CRC-32 like everyone's", () => {
    // Check value of CRC-32/ISO-HDLC.
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });
});

describe("using an artifact", () => {
  const use = { fingerprint: "sha256:0123", shape, sinkTokens: 1 };

  it("of another model, size or sink count is MODEL_MISMATCH, naming both and the remedy", () => {
    const artifact = fit("nuq3-1%");
    expect(() => checkArtifactModel(artifact, use)).not.toThrow();
    for (const other of [{ ...use, fingerprint: "sha256:9" }, ...(["layers", "queryHeads", "kvHeads", "headDim"] as const).map((size) => ({ ...use, shape: { ...shape, [size]: shape[size] + 1 } })), { ...use, sinkTokens: 4 }]) {
      expect(() => checkArtifactModel(artifact, other)).toThrowError(expect.objectContaining({ code: "MODEL_MISMATCH" }));
    }
    expect(() => checkArtifactModel(artifact, { ...use, sinkTokens: 4 })).toThrowError(/expected 1, got 4; use 1 sink tokens or calibrate again with 4/);
  });

  it("is fitted only under the sensitivity its statistics have, and to a number of sinks", () => {
    for (const sinkTokens of [-1, 0.5]) expect(() => fitArtifact(parsePreset("nuq3"), { ...statistics, sinkTokens }, identity)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    const calibration = { ...identity.calibration, sensitivity: "none" } as const;
    expect(() => fitArtifact(parsePreset("nuq3"), statistics, { ...identity, calibration })).toThrowError(/sensitivity: expected that of the statistics, fisher, got none/);
  });

  it("opens a codec for each layer and side, with the frame of its keys", () => {
    const page = makePage(shape);
    for (const name of ownPresets) {
      const codecs = openArtifact(decodeArtifact(encodeArtifact(fit(name))));
      expect(codecs.map(({ keyFrame }) => keyFrame)).toEqual(name.includes("post") ? ["post-rope", "post-rope"] : ["pre-rope", "pre-rope"]);
      const out = makeMatrix(64, 8, () => Number.NaN);
      for (const { key, value } of codecs) {
        key.decode(key.encode(page.k), out);
        value.decode(value.encode(page.v), out);
        expect(out.data.every(Number.isFinite)).toBe(true);
      }
    }
  });

  it("may mix quantizers by layer and side, custom ones among them", () => {
    const own = staged({ id: "my/values", side: "value", stages: [normalize({ axis: "token" })], coder: uniform({ bits: 4 }), packing: linear(4) });
    const mixed = { ...parsePreset("nuq3"), id: "mixed", layers: [{ key: parsePreset("kvq4").key, value: own }, parsePreset("nuq2-1%+fb")] };
    const fitted = decodeArtifact(encodeArtifact(fit(mixed)));
    expect(fitted.layers.map(({ key }) => `${key.id} ${key.bits}`)).toEqual(["kvquant/page-keys 4", "kvquant/channel-keys 2"]);
    expect(openArtifact(fitted, [own])).toHaveLength(2);
    expect(() => openArtifact(fitted)).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(() => fit({ ...mixed, layers: mixed.layers.slice(1) })).toThrowError(/expected 2 entries/);
    expect(() => fit({ ...mixed, layers: [{ key: own, value: own }, mixed] })).toThrowError(/a key and a value quantizer/);
    expect(() => fit({ ...mixed, layers: [mixed, { key: mixed.key, value: mixed.key }] })).toThrowError(/layer 1: expected a key and a value quantizer, got key and key/);
  });

  it("whose tables are of another size than the model's is CORRUPT_DATA", () => {
    const artifact = fit("nuq3-1%");
    for (const size of [{ kvHeads: 2 }, { headDim: 16 }]) expect(() => openArtifact({ ...artifact, shape: { ...shape, ...size } })).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => openArtifact({ ...artifact, rope: { ...artifact.rope, rotaryDim: 4 } })).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    const swapped = { ...artifact, layers: artifact.layers.map(({ key, value }) => ({ key: value, value: key })) };
    expect(() => openArtifact(swapped)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });
});

describe("presets", () => {
  it("are all the recipes' names, and an unknown one lists them", () => {
    expect(ownPresets).toHaveLength(21);
    expect(presetNames).toEqual([...ownPresets, ...baselineNames]);
    expect(() => parsePreset("nuq7")).toThrowError(/expected one of nuq4, nuq4-1%, nuq4-1%\+fb, kvq4, keys-token-post:4.*got "nuq7"/);
    expect(() => parsePreset("fp16")).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("spend the bits of the recipes on 3 KV heads x 64", () => {
    const smol = { layers: 1, queryHeads: 9, kvHeads: 3, headDim: 64 };
    const normal = normalNumbers(7);
    const draw = (rows: number): Matrix => makeMatrix(rows, 192, normal);
    const collector = createStatisticsCollector({ shape: smol, rope: { headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "none" } }, sinkTokens: 1, sensitivity: "fisher" });
    const k = draw(1537);
    collector.add(0, { k, v: k, keyGradients: k, valueGradients: k });
    const fitted = collector.finish();
    const page = { k: draw(64), v: draw(64) };
    const limits: [string, number][] = [["nuq4-1%", 4.42], ["nuq3-1%", 3.42], ["nuq2-1%", 2.42], ["kvq4", 4.18], ["kvq3", 3.18], ["kvq2", 2.18]];
    for (const [name, limit] of limits) {
      const [codecs] = openArtifact(fitArtifact(parsePreset(name), fitted, identity));
      const bits = ((codecs!.key.encode(page.k).bytes.length + codecs!.value.encode(page.v).bytes.length) * 8) / (2 * 64 * 192);
      expect(bits).toBeLessThanOrEqual(limit);
    }
  });
});
