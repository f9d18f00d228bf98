import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadCustomQuantizers } from "@kvquant/artifacts";
import { decodeArtifact, openArtifact } from "@kvquant/quant";
import { makePage, makeStatistics } from "@kvquant/quant/testing";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { runText } from "./fixtures/run-command.js";
import { useCacheFolder } from "./fixtures/temporary-folder.js";

const model = fileURLToPath(new URL("../../../packages/model/fixtures/stories260k", import.meta.url));
const folder = useCacheFolder();

beforeAll(() => {
  mkdirSync(join(folder, "cache"));
});

let files = 0;
function writeModule(source: string): string {
  const path = join(folder, `module-${files++}.mjs`);
  writeFileSync(path, source);
  return path;
}

/** A quantizer that halves fp16 into bytes: 8 bits from -s to s, with one scale a token. */
const body = (id: string, side: string): string => `pageQuantizer({
  id: "${id}", side: "${side}", frame: "pre-rope",
  fit: () => ({ bits: 8, packing: "bytes", stages: ["absmax:token"], arrays: {} }),
  open: (_artifact, { kvHeads, headDim }) => {
    const columns = kvHeads * headDim;
    return {
      byteLength: (tokens) => tokens * (columns + 2),
      write(x, tokens, bytes) {
        for (let token = 0; token < tokens; token++) {
          const row = x.subarray(token * columns, (token + 1) * columns);
          const at = token * (columns + 2);
          const scale = storeHalf(bytes, at, Math.max(...row.map(Math.abs)) / 127);
          row.forEach((value, index) => (bytes[at + 2 + index] = scale === 0 ? 128 : 128 + Math.max(-127, Math.min(127, Math.round(value / scale)))));
        }
      },
      read(bytes, tokens, out) {
        for (let token = 0; token < tokens; token++) {
          const at = token * (columns + 2);
          const scale = loadHalf(bytes, at);
          for (let index = 0; index < columns; index++) out[token * columns + index] = (bytes[at + 2 + index] - 128) * scale;
        }
      },
    };
  },
})`;
const factory = (result: string): string => `export default ({ pageQuantizer, storeHalf, loadHalf }) => (${result});`;
const pair = (id: string): string => factory(`{ id: "${id}", key: ${body(`my/${id}-keys`, "key")}, value: ${body(`my/${id}-values`, "value")} }`);

describe("quantizers from files", () => {
  it("are a pair, a function of the kit, a promise of one, or a plain object", async () => {
    const custom = await loadCustomQuantizers([
      writeModule(pair("one")),
      writeModule(`export default async ({ pageQuantizer, storeHalf, loadHalf }) => ({ id: "two", key: ${body("my/two-keys", "key")}, value: "kvq3" });`),
      writeModule(`export default { specVersion: 1, id: "my/bare", side: "key", frame: "pre-rope", fit() {}, open() {} };`),
    ]);
    expect([...custom.presets.keys()]).toEqual(["one", "two", "my/bare"]);
    expect(custom.presets.get("two")!.value.id).toBe("kvquant/rotated-values");
    expect(custom.quantizers.map(({ id }) => id)).toEqual(["my/one-keys", "my/one-values", "my/two-keys", "my/bare"]);
  });

  it("of one side leave the other one exact", async () => {
    const { presets } = await loadCustomQuantizers([writeModule(factory(body("my/alone", "value")))]);
    const { key, value } = presets.get("my/alone")!;
    expect([key.id, value.id]).toEqual(["baseline/half-precision-keys", "my/alone"]);
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 16 };
    const layer = makeStatistics({ shape, sensitivity: "none", windows: 1, tokens: 40 }).layers[0]!;
    const page = makePage(shape).k;
    const halves = { ...page, data: page.data.map((x) => Math.round(x * 256) / 256) };
    const codec = key.open(key.fit(layer));
    const out = { ...halves, data: new Float32Array(halves.data.length) };
    codec.decode(codec.encode(halves), out);
    expect(out.data).toEqual(halves.data);
  });

  // [what is wrong, source, code, message]
  const wrong: [string, string, string, RegExp][] = [
    ["no default export", "export const quantizer = 1;", "INVALID_ARGUMENT", /expected a default export, got exports quantizer/],
    ["something else", "export default 7;", "INVALID_ARGUMENT", /expected a default export that is a quantizer.*got number/],
    ["a function that returns nothing", "export default () => undefined;", "INVALID_ARGUMENT", /got undefined/],
    ["a function that throws", "export default () => { throw new TypeError('oh'); };", "INVALID_ARGUMENT", /TypeError: oh/],
    ["a syntax error", "export default {", "INVALID_ARGUMENT", /expected an ES module that loads/],
    ["another version of the contract", "export default { specVersion: 2, id: 'my/x', side: 'key', frame: 'pre-rope', fit() {}, open() {} };", "UNSUPPORTED", /expected 1, the version.*got 2/],
    ["the library's name space", "export default { specVersion: 1, id: 'kvquant/page-keys', side: 'key', frame: 'pre-rope', fit() {}, open() {} };", "INVALID_ARGUMENT", /a name space of your own/],
    ["the baselines' name space", "export default { specVersion: 1, id: 'baseline/x', side: 'key', frame: 'pre-rope', fit() {}, open() {} };", "INVALID_ARGUMENT", /a name space of your own/],
    ["an id without a name space", "export default { specVersion: 1, id: 'x', side: 'key', frame: 'pre-rope', fit() {}, open() {} };", "INVALID_ARGUMENT", /a name space and a name/],
    ["no fit", "export default { specVersion: 1, id: 'my/x', side: 'key', frame: 'pre-rope', open() {} };", "INVALID_ARGUMENT", /fit: expected a function, got undefined/],
    ["values as keys", factory(`{ id: "x", key: ${body("my/x", "value")} }`), "INVALID_ARGUMENT", /key: side: expected a key quantizer, got value/],
    ["a pair without a name", factory(`{ key: ${body("my/x", "key")} }`), "INVALID_ARGUMENT", /id: expected a name without spaces and commas.*got undefined/],
    ["the name of a preset", factory(`{ id: "kvq3", key: ${body("my/x", "key")} }`), "INVALID_ARGUMENT", /expected a name that no other cache has, got kvq3/],
    ["a preset that is not there", factory(`{ id: "x", key: ${body("my/x", "key")}, value: "kvq9" }`), "INVALID_ARGUMENT", /got "kvq9"/],
    ["one quantizer for both sides", factory(`{ id: "x", key: ${body("my/x", "key")}, value: ${body("my/x", "value")} }`), "INVALID_ARGUMENT", /quantizer id: expected one that no other quantizer has, got my\/x/],
  ];
  it.each(wrong)("are refused with %s, in words", async (_what, source, code, message) => {
    await expect(loadCustomQuantizers([writeModule(source)])).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it("are refused when the file is not there, naming the command that writes one", async () => {
    await expect(loadCustomQuantizers([join(folder, "none.mjs")])).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("kvquant new-quantizer") as string });
  });
});

describe("kvquant --quantizer", () => {
  let text: string;
  beforeAll(() => {
    text = join(folder, "text.txt");
    writeFileSync(text, "Once upon a time Lily saw a big dog and ran to her mom. ".repeat(70));
  });
  const calibration = ["--sequences", "1", "--length", "160", "--sensitivity", "none"];

  it("evaluates, fits and generates with caches of one's own, beside those that are there", async () => {
    const file = writeModule(pair("mine"));
    const evaluated = await runText(["eval", model, "--data", text, "--calibration-data", text, "--context", "128", "--windows", "1", "--tail", "0,64", "--caches", "fp16,mine,int4-token", "--quantizer", file, ...calibration, "--json"]);
    expect(evaluated.stderr).not.toContain("error");
    const { rows } = JSON.parse(evaluated.stdout) as { rows: { cache: string; tail: number; bitsPerValue: number; kldMean: number }[] };
    expect(rows.map(({ cache, tail }) => `${cache} ${tail}`)).toEqual(["fp16 0", "mine 0", "int4-token 0", "fp16 64", "mine 64", "int4-token 64"]);
    // 32 channels of 8 bits and one half a token.
    expect(rows[1]!.bitsPerValue).toBe(8.5);
    expect(rows[1]!.kldMean).toBeGreaterThan(0);
    expect(rows[1]!.kldMean).toBeLessThan(rows[2]!.kldMean);

    const artifact = join(folder, "mine.kvq");
    expect((await runText(["calibrate", model, "--data", text, ...calibration, "--cache", "mine", "--quantizer", file, "-o", artifact])).code).toBe(0);
    const saved = decodeArtifact(readFileSync(artifact));
    expect(saved.cache).toBe("mine");
    expect(() => openArtifact(saved)).toThrowError(/got my\/mine-keys; pass the quantizer that made it/);
    const prompt = ["--prompt", "Once upon a time", "--max-tokens", "4", "--engine", "reference", "--json"];
    const direct = await runText(["generate", model, "--cache", "mine", "--quantizer", file, "--calibration-data", text, ...calibration, ...prompt]);
    const reopened = await runText(["generate", model, "--cache", artifact, "--quantizer", file, ...prompt]);
    expect([direct.code, reopened.code]).toEqual([0, 0]);
    expect((JSON.parse(reopened.stdout) as { text: string }).text).toBe((JSON.parse(direct.stdout) as { text: string }).text);
    const without = await runText(["generate", model, "--cache", artifact, ...prompt]);
    expect(without.code).toBe(1);
    expect(without.stderr).toContain("error UNSUPPORTED");
  });

  it("gives the worked example its row", async () => {
    const example = fileURLToPath(new URL("../../examples/custom-quantizer/quantizer.mjs", import.meta.url));
    const { stdout } = await runText(["eval", model, "--data", text, "--calibration-data", text, "--context", "128", "--windows", "1", "--tail", "0", "--caches", "fp16,mean-residual", "--quantizer", example, ...calibration]);
    // 3 bits, a half for 63 and 64 tokens of a channel, and one for the 8 channels of a head.
    expect(stdout).toMatch(/^mean-residual +0 +5\.25 /m);
  });

  it("says which of the user's functions failed, and where", async () => {
    const file = writeModule(factory(`{ id: "broken", key: { ...${body("my/broken", "key")}, fit: () => null.arrays } }`));
    const { code, stderr } = await runText(["calibrate", model, "--data", text, ...calibration, "--cache", "broken", "--quantizer", file, "-o", join(folder, "broken.kvq")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/error INVALID_ARGUMENT: my\/broken: fit: expected a result, got TypeError: Cannot read properties of null/);
    expect(stderr).toContain(file.slice(file.lastIndexOf("/") + 1));
  });

  it("names caches of one's own when another one is asked for", async () => {
    const { code, stderr } = await runText(["eval", model, "--caches", "fp16,yours", "--quantizer", writeModule(pair("listed"))]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/expected one of fp16, listed, nuq4,.*got "yours"; a cache of your own needs its file, --quantizer/);
  });
});
