import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { KvquantError } from "@kvquant/spec";
import { expect, onTestFinished, test } from "vitest";
import type { ModelFile } from "../files/model-file.js";
import { openModelFile } from "../files/open-model-file.js";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { SMALL, smallModel } from "./fixtures/small-model.js";
import { writeGguf } from "./fixtures/write-gguf.js";
import type { TensorEntry } from "./fixtures/write-gguf.js";

async function open(bytes: Uint8Array): Promise<ModelFile> {
  const path = join(temporaryFolder(), "model.gguf");
  writeFileSync(path, bytes);
  const file = await openModelFile(path);
  onTestFinished(() => file.close());
  return file;
}

/** As convert_hf_to_gguf does it: reshape(heads, 2, headDim / 2, width), swap axes 1 and 2. */
function permute(values: Float32Array, heads: number, width: number): Float32Array {
  const half = values.length / width / heads / 2;
  const out = new Float32Array(values.length);
  let at = 0;
  for (let head = 0; head < heads; head++)
    for (let pair = 0; pair < half; pair++)
      for (let side = 0; side < 2; side++)
        for (let column = 0; column < width; column++) out[at++] = values[((head * 2 + side) * half + pair) * width + column]!;
  return out;
}

const dataOf = (entry: TensorEntry | undefined): Float32Array => entry!.data as Float32Array;

test("a llama file gives its configuration", async () => {
  const { metadata, tensors } = smallModel("llama");
  const file = await open(writeGguf(metadata, tensors));
  expect(file.config).toEqual({
    architecture: "llama",
    name: "small",
    ...SMALL,
    contextLength: 128,
    normEpsilon: 2 ** -20,
    rope: { headDim: 8, rotaryDim: 8, base: 20000, scaling: { type: "none" } },
    tiedEmbeddings: false,
    attentionBias: false,
    queryKeyNorm: false,
  });
});

test("rows of q and k, weights and biases, of a llama file come back in half-split order, and nothing else is moved", async () => {
  const { metadata, tensors } = smallModel("llama", { biases: true });
  const asTrained = structuredClone(tensors);
  for (const [name, entry] of Object.entries(tensors)) {
    const heads = /attn_q\./.test(name) ? SMALL.queryHeads : /attn_k\./.test(name) ? SMALL.kvHeads : undefined;
    if (heads !== undefined) tensors[name] = { ...entry, data: permute(dataOf(entry), heads, entry.shape.length === 1 ? 1 : SMALL.width) };
  }
  const file = await open(writeGguf(metadata, tensors));
  for (const [part, own] of Object.entries({ query: "attn_q.weight", key: "attn_k.weight", value: "attn_v.weight", query_bias: "attn_q.bias", key_bias: "attn_k.bias", value_bias: "attn_v.bias", attention_output: "attn_output.weight", down: "ffn_down.weight", gate: "ffn_gate.weight", up: "ffn_up.weight", ffn_norm: "ffn_norm.weight", attention_norm: "attn_norm.weight" } as const)) {
    expect(file.tensor(`layers.1.${part as "query"}`), part).toEqual(dataOf(asTrained[`blk.1.${own}`]));
  }
  expect(file.tensor("embedding")).toEqual(dataOf(asTrained["token_embd.weight"]));
  expect(file.tensor("output")).toEqual(dataOf(asTrained["output.weight"]));
  expect(file.tensor("output_norm")).toEqual(dataOf(asTrained["output_norm.weight"]));
});

test("with partial rotary only the channels that rotate are moved", async () => {
  const { metadata, tensors } = smallModel("llama");
  const file = await open(writeGguf({ ...metadata, "llama.rope.dimension_count": { u32: 4 } }, tensors));
  const rows = Array.from({ length: 16 }, (_, row) => file.tensor("layers.0.key")[row * SMALL.width]! - dataOf(tensors["blk.0.attn_k.weight"])[0]!).map((x) => Math.round((x * 4096) / SMALL.width));
  expect(rows).toEqual([0, 2, 1, 3, 4, 5, 6, 7, 8, 10, 9, 11, 12, 13, 14, 15]);
});

test.each(["qwen2", "qwen3"] as const)("%s files are read as they stand", async (architecture) => {
  const { metadata, tensors } = smallModel(architecture, { tied: true });
  const file = await open(writeGguf(metadata, tensors));
  expect(file.config).toMatchObject({ architecture, attentionBias: architecture === "qwen2", queryKeyNorm: architecture === "qwen3", tiedEmbeddings: true });
  expect(file.tensor("layers.0.query")).toEqual(dataOf(tensors["blk.0.attn_q.weight"]));
  if (architecture === "qwen2") expect(file.tensor("layers.1.key_bias")).toEqual(dataOf(tensors["blk.1.attn_k.bias"]));
  else expect(file.tensor("layers.1.key_norm")).toEqual(dataOf(tensors["blk.1.attn_k_norm.weight"]));
  expect(file.tensor("output")).toEqual(dataOf(tensors["token_embd.weight"]));
});

test("embedding rows equal the rows of the whole tensor, repeated and in any order", async () => {
  const { metadata, tensors } = smallModel();
  // Q8_0: a scale of 0.5 and codes that tell row and column.
  const data = new Uint8Array(SMALL.vocabulary * 34);
  for (let row = 0; row < SMALL.vocabulary; row++) {
    data.set([0x00, 0x38], row * 34);
    for (let column = 0; column < 32; column++) data[row * 34 + 2 + column] = row * 7 + column;
  }
  tensors["token_embd.weight"] = { shape: [32, SMALL.vocabulary], type: 8, data };
  const file = await open(writeGguf(metadata, tensors));
  const out = new Float32Array(4 * 32).fill(Number.NaN);
  file.embeddingRows([9, 0, 9, 3], out);
  expect(out.subarray(96, 99)).toEqual(Float32Array.of(10.5, 11, 11.5));
  expect(out).toEqual(Float32Array.from([9, 0, 9, 3].flatMap((row) => [...file.tensor("embedding").subarray(row * 32, row * 32 + 32)])));
  file.embeddingRows([], new Float32Array(0));
  for (const token of [-1, 10, 1.5, Number.NaN]) expect(() => file.embeddingRows([0, token], new Float32Array(64))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => file.embeddingRows([0], new Float32Array(31))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});

test("a closed file and an unknown tensor are refused", async () => {
  const { metadata, tensors } = smallModel();
  const file = await open(writeGguf(metadata, tensors));
  expect(() => file.tensor("layers.2.query")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => file.tensor("layers.0.query_bias")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  file.close();
  file.close();
  expect(() => file.tensor("embedding")).toThrow(expect.objectContaining({ code: "DISPOSED" }));
});

test("rope_freqs.weight becomes the scaling rule", async () => {
  const { metadata, tensors } = smallModel();
  tensors["rope_freqs.weight"] = { shape: [4], data: Float32Array.of(1, 2, 4, 8) };
  expect((await open(writeGguf(metadata, tensors))).config.rope.scaling).toEqual({ type: "factors", factors: [1, 2, 4, 8] });
});

test("the two tensors of longrope become its short and long factors", async () => {
  const { metadata, tensors } = smallModel();
  tensors["rope_factors_short.weight"] = { shape: [4], data: Float32Array.of(1, 1, 1, 1) };
  tensors["rope_factors_long.weight"] = { shape: [4], data: Float32Array.of(1, 2, 4, 8) };
  const longrope = { ...metadata, "llama.rope.scaling.type": { string: "longrope" }, "llama.rope.scaling.original_context_length": { u32: 16 }, "llama.rope.scaling.attn_factor": { f32: 1.25 } };
  expect((await open(writeGguf(longrope, tensors))).config.rope.scaling).toMatchObject({ type: "longrope", shortFactor: [1, 1, 1, 1], longFactor: [1, 2, 4, 8], originalMaxPositionEmbeddings: 16, attentionFactor: 1.25 });
});

test("linear and YaRN scaling are read from the metadata", async () => {
  const { metadata, tensors } = smallModel();
  const scaled = (type: string, more: Parameters<typeof writeGguf>[0] = {}) => writeGguf({ ...metadata, "llama.rope.scaling.type": { string: type }, "llama.rope.scaling.factor": { f32: 4 }, ...more }, tensors);
  expect((await open(scaled("linear"))).config.rope.scaling).toEqual({ type: "linear", factor: 4 });
  expect((await open(scaled("yarn", { "llama.rope.scaling.original_context_length": { u32: 32 } }))).config.rope.scaling).toMatchObject({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 32 });
  await expect(open(scaled("spiral"))).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("spiral") as string });
  await expect(open(scaled("linear", { "llama.rope.scaling.factor": { f32: -1 } }))).rejects.toMatchObject({ code: "CORRUPT_DATA" });
});

test("the fingerprint follows the weights and the configuration, not the name or the place", async () => {
  const { metadata, tensors } = smallModel();
  const first = await open(writeGguf(metadata, tensors));
  expect(first.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  const renamed = await open(writeGguf({ ...metadata, "general.name": { string: "other" } }, Object.fromEntries(Object.entries(tensors).reverse())));
  expect(renamed.fingerprint).toBe(first.fingerprint);
  const base = await open(writeGguf({ ...metadata, "llama.rope.freq_base": { f32: 10000 } }, tensors));
  const data = Float32Array.from(dataOf(tensors["blk.1.ffn_down.weight"]));
  data[data.length - 1]! += 1;
  const weights = await open(writeGguf(metadata, { ...tensors, "blk.1.ffn_down.weight": { ...tensors["blk.1.ffn_down.weight"]!, data } }));
  expect(new Set([first.fingerprint, base.fingerprint, weights.fingerprint]).size).toBe(3);
});

test("what the forward pass has no place for is refused by name", async () => {
  const { metadata, tensors } = smallModel();
  const refused = async (bytes: Uint8Array, code: string, text: string | RegExp): Promise<void> => {
    await expect(open(bytes)).rejects.toMatchObject({ name: "KvquantError", code, message: expect.stringMatching(text) as string });
  };
  await refused(writeGguf({ ...metadata, "general.architecture": { string: "mamba" } }, tensors), "UNSUPPORTED", /"mamba".*llama, qwen2, qwen3/);
  await refused(writeGguf({ ...metadata, "llama.expert_count": { u32: 8 } }, tensors), "UNSUPPORTED", /experts/);
  await refused(writeGguf({ ...metadata, "split.count": { u32: 3 } }, tensors), "UNSUPPORTED", /3 parts/);
  await refused(writeGguf(metadata, { ...tensors, "blk.0.attn_output.bias": { shape: [32], data: new Float32Array(32) } }), "UNSUPPORTED", /attn_output\.bias/);
  await refused(writeGguf(metadata, { ...tensors, "blk.0.ffn_up.weight": { shape: [32, 48], type: 16, data: new Uint8Array(9999) } }), "UNSUPPORTED", /ffn_up.*IQ2_XXS.*Q4_K/);
  await refused(writeGguf({ ...metadata, "llama.attention.value_length": { u32: 16 } }, tensors), "UNSUPPORTED", /8 and 16/);
  await refused(writeGguf({ ...metadata, "llama.attention.head_count_kv": { i32s: [1, 2] } }, tensors), "UNSUPPORTED", /all layers/);
});

test("damaged files are refused, saying what was expected", async () => {
  const { metadata, tensors } = smallModel();
  const without = <T>(record: Record<string, T>, key: string): Record<string, T> => Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
  const refused = async (bytes: Uint8Array, text: RegExp): Promise<void> => {
    await expect(open(bytes)).rejects.toMatchObject({ name: "KvquantError", code: "CORRUPT_DATA", message: expect.stringMatching(text) as string });
  };
  const whole = writeGguf(metadata, tensors);
  await refused(new Uint8Array(0), /expected a GGUF file/);
  await refused(new TextEncoder().encode("<!doctype html><html><body>Not found"), /<!doctyp/);
  await refused(new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:00"), /git-lfs/);
  await refused(whole.subarray(0, whole.length - 64), /truncated/);
  await refused(whole.subarray(0, 700), /header/);
  await refused(writeGguf(metadata, tensors, { tensorCount: 2n ** 60n }), /header/);
  await refused(writeGguf(metadata, tensors, { entryCount: 2n ** 60n }), /header/);
  await refused(writeGguf(metadata, tensors, { tensorCount: 9_000_000n }), /header/);
  await refused(writeGguf({ ...metadata, "general.alignment": { u32: 24 } }, tensors), /alignment/);
  await refused(writeGguf(metadata, without(tensors, "blk.1.ffn_up.weight")), /blk\.1\.ffn_up\.weight/);
  await refused(writeGguf(metadata, without(tensors, "token_embd.weight")), /token_embd/);
  await refused(writeGguf(without(metadata, "llama.block_count"), tensors), /llama\.block_count/);
  await refused(writeGguf({ ...metadata, "llama.block_count": { string: "two" } }, tensors), /a number for llama\.block_count/);
  await refused(writeGguf({ ...metadata, "llama.block_count": { u64: 2n ** 50n } }, tensors), /layers from 1 to/);
  await refused(writeGguf({ ...metadata, "llama.embedding_length": { u32: 64 } }, tensors), /shape/);
  await refused(writeGguf({ ...metadata, "llama.attention.head_count": { u32: 0 } }, tensors), /headDim|queryHeads|multiple/);
  const changed = (change: Partial<TensorEntry>): Uint8Array => writeGguf(metadata, { ...tensors, "blk.0.ffn_up.weight": { ...tensors["blk.0.ffn_up.weight"]!, ...change } });
  await refused(changed({ offset: 32 }), /overlap/);
  await refused(changed({ offset: 33 }), /multiple of 32/);
  await refused(changed({ offset: 1e9 }), /truncated/);
  await refused(changed({ shape: [32, 47] }), /\[48, 32\].*\[47, 32\]/);
  await refused(changed({ shape: [32, 2 ** 31, 2 ** 31] }), /believable|header/);
  await refused(changed({ shape: [32, 0] }), /believable/);
  await refused(changed({ shape: [16, 96], type: 2 }), /multiple of 32/);
});

test("a file cut at any byte is refused with CORRUPT_DATA", async () => {
  const { metadata, tensors } = smallModel();
  const whole = writeGguf(metadata, tensors);
  const path = join(temporaryFolder(), "cut.gguf");
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: whole.length - 33 })), async (length) => {
      writeFileSync(path, whole.subarray(0, length));
      await expect(openModelFile(path)).rejects.toMatchObject({ code: "CORRUPT_DATA" });
    }),
    { numRuns: 60 },
  );
});

test("a flipped byte in the header never gives anything but a KvquantError or a model", async () => {
  const { metadata, tensors } = smallModel();
  const whole = writeGguf(metadata, tensors);
  const path = join(temporaryFolder(), "flipped.gguf");
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2600 }), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
      const bytes = Uint8Array.from(whole);
      bytes[at]! ^= mask;
      writeFileSync(path, bytes);
      try {
        (await openModelFile(path)).close();
      } catch (error) {
        expect(KvquantError.isInstance(error), String(error)).toBe(true);
        expect(["CORRUPT_DATA", "UNSUPPORTED"]).toContain((error as KvquantError).code);
      }
    }),
    { numRuns: 150 },
  );
});

test("a missing file and a folder without a model are IO_ERRORs that name the path", async () => {
  await expect(openModelFile("/no/such/model.gguf")).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringMatching(/model\.gguf.*no such file/) as string });
  await expect(openModelFile(temporaryFolder())).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("config.json") as string });
});
