import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openModelFile } from "../files/open-model-file.js";
import { applyChatTemplate } from "./chat-template.js";
import { createTokenizer } from "./create-tokenizer.js";
import type { Tokenizer } from "./tokenizer.js";

interface Golden {
  bpe: { tokens: string[]; merges: string[]; types: number[] };
  sentencepiece: { tokens: string[]; scores: number[]; types: number[] };
  texts: string[];
  ids: Record<string, number[][]>;
}

// Ids made by llama.cpp; see golden/make_tokenizer_cases.py and golden/llama_cpp_ids.mjs.
const golden = read("../../golden/tokenizer.json") as Golden;
const stories = read("../../fixtures/stories260k/golden.json") as { encode: { text: string; ids: number[] }[]; greedy_from_bos: number[]; greedy_text: string };

function read(path: string): unknown {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
}

function byteLevel(pre: string, more: Record<string, unknown> = {}): Tokenizer {
  const { tokens, merges, types } = golden.bpe;
  const metadata = { "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges, "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, ...more };
  return createTokenizer({ kind: "gguf", metadata: new Map(Object.entries(metadata)) });
}

function sentencePiece(more: Record<string, unknown> = {}): Tokenizer {
  const { tokens, scores, types } = golden.sentencepiece;
  const metadata = { "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, ...more };
  return createTokenizer({ kind: "gguf", metadata: new Map(Object.entries(metadata)) });
}

const kinds = { "byte-level": byteLevel("smollm"), sentencepiece: sentencePiece() };

describe("tokenizers rebuilt from GGUF metadata", () => {
  test.each(["smollm", "gpt-2", "llama-bpe", "qwen2", "default"])("%s cuts and merges as llama.cpp does", (pre) => {
    const tokenizer = byteLevel(pre);
    for (const [index, text] of golden.texts.entries()) expect([...tokenizer.encode(text, { addSpecial: false })], JSON.stringify(text)).toEqual(golden.ids[pre]![index]);
  });

  test("the five pre-tokenizers differ on the golden texts", () => {
    expect(new Set(Object.values(golden.ids).map((ids) => JSON.stringify(ids))).size).toBe(6);
  });

  test("SentencePiece merges derived from scores give llama.cpp's ids", () => {
    for (const [index, text] of golden.texts.entries()) expect([...kinds.sentencepiece.encode(text, { addSpecial: false })], JSON.stringify(text)).toEqual(golden.ids["sentencepiece"]![index]);
  });

  test.each(stories.encode)("SentencePiece gives the ids of llama2.c for $text", ({ text, ids }) => {
    expect([...kinds.sentencepiece.encode(text)]).toEqual(ids);
  });

  test("a space prefix is left out where the file says so", () => {
    const [first] = sentencePiece({ "tokenizer.ggml.add_space_prefix": false }).encode("hello", { addSpecial: false });
    expect(kinds.sentencepiece.tokenText(first!)).toMatch(/^h/);
  });

  test("BOS comes first when the file or its pre-tokenizer says so", () => {
    expect(byteLevel("gpt-2")).toMatchObject({ addBos: false, bos: 1 });
    expect(byteLevel("llama-bpe").addBos).toBe(true);
    expect([...byteLevel("gpt-2", { "tokenizer.ggml.add_bos_token": true }).encode("")]).toEqual([1]);
    expect([...byteLevel("gpt-2", { "tokenizer.ggml.add_bos_token": true }).encode("", { addSpecial: false })]).toEqual([]);
    expect([...byteLevel("gpt-2", { "tokenizer.ggml.add_eos_token": true }).encode("a")].at(-1)).toBe(2);
    expect(byteLevel("llama-bpe", { "tokenizer.ggml.add_bos_token": false }).addBos).toBe(false);
  });

  test("every id that ends a turn is known, the declared one first", () => {
    expect(byteLevel("smollm").eos).toEqual([2, 0]);
    expect(byteLevel("smollm", { "tokenizer.ggml.eot_token_id": 1 }).eos).toEqual([2, 1, 0]);
    expect(kinds.sentencepiece.eos).toEqual([2]);
  });

  test("control tokens in a text are read as such only when asked to", () => {
    const text = "<|im_start|>user";
    expect([...kinds["byte-level"].encode(text)][0]).toBe(1);
    const plain = kinds["byte-level"].encode(text, { parseSpecial: false });
    expect([...plain].some((id) => id < 3)).toBe(false);
    expect(kinds["byte-level"].decode(plain)).toBe(text);
    const sentence = sentencePiece().encode("</s>", { parseSpecial: false });
    expect([...sentence].slice(1)).not.toContain(2);
    expect(sentence[0]).toBe(1);
  });

  test("the end of a list of merges does not matter to texts without them", () => {
    const fewer = byteLevel("smollm", { "tokenizer.ggml.merges": golden.bpe.merges.slice(0, 1) });
    expect(fewer.encode("hello").length).toBeGreaterThan(kinds["byte-level"].encode("hello").length);
  });

  test("damaged or unknown data is refused", () => {
    const refused = (change: Record<string, unknown>, code: string, text: RegExp) => expect(() => byteLevel("smollm", change)).toThrow(expect.objectContaining({ name: "KvquantError", code, message: expect.stringMatching(text) as string }));
    refused({ "tokenizer.ggml.model": "bert" }, "UNSUPPORTED", /"bert".*gpt2.*llama/);
    refused({ "tokenizer.ggml.model": undefined }, "CORRUPT_DATA", /tokenizer\.ggml\.model/);
    refused({ "tokenizer.ggml.pre": "tekken" }, "UNSUPPORTED", /"tekken".*smollm.*qwen2/);
    refused({ "tokenizer.ggml.pre": "constructor" }, "UNSUPPORTED", /constructor/);
    refused({ "tokenizer.ggml.tokens": [] }, "CORRUPT_DATA", /tokens/);
    refused({ "tokenizer.ggml.tokens": ["a", 5] }, "CORRUPT_DATA", /strings/);
    refused({ "tokenizer.ggml.token_type": [1, 1] }, "CORRUPT_DATA", /801 numbers/);
    refused({ "tokenizer.ggml.merges": ["ab"] }, "CORRUPT_DATA", /"ab" at rank 0/);
    refused({ "tokenizer.ggml.merges": undefined }, "CORRUPT_DATA", /merges/);
    refused({ "tokenizer.ggml.bos_token_id": 801 }, "CORRUPT_DATA", /0 to 800, got 801/);
    expect(byteLevel("smollm", { "tokenizer.ggml.bos_token_id": 0xffffffff }).bos).toBeUndefined();
    expect(() => sentencePiece({ "tokenizer.ggml.scores": [1] })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => createTokenizer({ kind: "none", reason: "m.gguf has none" })).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("m.gguf has none") as string }));
  });
});

test("data that the library looks at first when a text is encoded is refused as the file's fault", () => {
  const tokenizer = createTokenizer({
    kind: "huggingface",
    tokenizer: { model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] }, decoder: { type: "ByteLevel" }, post_processor: { type: "TemplateProcessing", single: 7, pair: [] } },
  });
  expect(() => tokenizer.encode("ab")).toThrow(expect.objectContaining({ name: "KvquantError", code: "CORRUPT_DATA" }));
});

test("an id far beyond the number of tokens is refused before a table of that length is made", () => {
  const open = (vocab: object, added: object[]) => () => createTokenizer({ kind: "huggingface", tokenizer: { model: { type: "BPE", vocab, merges: [] }, added_tokens: added, decoder: { type: "ByteLevel" } } });
  const refused = expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringMatching(/ids below/) as string }) as Error;
  expect(open({ a: 0, b: 2 ** 24 }, [])).toThrow(refused);
  expect(open({ a: 0 }, [{ id: 2 ** 24, content: "</s>" }])).toThrow(refused);
  expect(open({ a: 0, b: 60_000 }, [])().vocabulary).toBe(60_001);
});

describe.each(Object.entries(kinds))("decoding of %s tokens", (_kind, tokenizer) => {
  test("gives back any text that was encoded", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (text) => {
        // The stand-in for a space is decoded as a space.
        fc.pre(!text.includes("\u2581"));
        expect(tokenizer.decode(tokenizer.encode(text, { parseSpecial: false }))).toBe(text);
      }),
    );
  });

  test("in a stream gives the same text, and whole characters only", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: tokenizer.vocabulary - 1 }), { maxLength: 40 }), (ids) => {
        const stream = tokenizer.streamDecoder();
        const parts = ids.map((id) => stream.push(id));
        expect(parts.join("") + stream.end()).toBe(tokenizer.decode(ids));
      }),
    );
    const stream = tokenizer.streamDecoder();
    const parts = [...tokenizer.encode("a\u{1f600}\u65e5", { addSpecial: false })].map((id) => stream.push(id)).filter((part) => part !== "");
    expect(parts).toEqual(["a", "\u{1f600}", "\u65e5"]);
  });

  test("ends a stream that stops inside a character with U+FFFD", () => {
    const ids = tokenizer.encode("\u65e5", { addSpecial: false });
    const stream = tokenizer.streamDecoder();
    for (const id of ids.subarray(0, -1)) stream.push(id);
    expect(stream.end()).toBe("\ufffd");
  });

  test("leaves special tokens out unless asked for, and refuses ids outside the vocabulary", () => {
    expect(tokenizer.decode([2])).toBe("");
    expect(tokenizer.decode([2], { skipSpecial: false })).toBe(tokenizer.tokenText(2));
    for (const id of [-1, tokenizer.vocabulary, 0.5]) expect(() => tokenizer.decode([id])).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

test("a continued stream keeps the space of its first word", () => {
  const ids = kinds.sentencepiece.encode("was", { addSpecial: false });
  expect(kinds.sentencepiece.decode(ids)).toBe("was");
  const stream = kinds.sentencepiece.streamDecoder({ continued: true });
  expect([...ids].map((id) => stream.push(id)).join("")).toBe(" was");
});

test("a long text without line breaks takes time in proportion to its length", () => {
  const text = "Once upon a time there was a little girl. ".repeat(2500);
  const start = performance.now();
  const ids = kinds.sentencepiece.encode(text);
  expect(kinds.sentencepiece.decode(ids)).toBe(text);
  expect(performance.now() - start).toBeLessThan(3000);
});

describe("the tokenizer.json of stories260K", async () => {
  const file = await openModelFile(fileURLToPath(new URL("../../fixtures/stories260k", import.meta.url)));
  const tokenizer = createTokenizer(file.tokenizerSource);
  file.close();

  test.each(stories.encode)("gives the ids of llama2.c for $text", ({ text, ids }) => {
    expect([...tokenizer.encode(text)]).toEqual(ids);
  });

  test("decodes the reference's greedy text and knows BOS and EOS", () => {
    expect(tokenizer.decode(stories.greedy_from_bos)).toBe(stories.greedy_text);
    expect(tokenizer).toMatchObject({ bos: 1, eos: [2], addBos: true, vocabulary: 512 });
  });

  test("takes special tokens and template from tokenizer_config.json when there is one", () => {
    if (file.tokenizerSource.kind !== "huggingface") throw new Error("expected a folder");
    const source = { ...file.tokenizerSource, tokenizerConfig: { bos_token: null, eos_token: { content: "<s>" }, chat_template: [{ name: "tools", template: "x" }, { name: "default", template: "{{ messages[0].content }}{{ eos_token }}" }] }, generationConfig: { eos_token_id: [2, 7] } };
    const other = createTokenizer(source);
    expect(other).toMatchObject({ eos: [1, 2, 7], addBos: false });
    expect(other.bos).toBeUndefined();
    expect(applyChatTemplate(other, [{ role: "user", content: "hi" }])).toBe("hi<s>");
  });

  test("refuses other models and damaged files", () => {
    if (file.tokenizerSource.kind !== "huggingface") throw new Error("expected a folder");
    const source = file.tokenizerSource;
    const json = source.tokenizer as { model: object };
    expect(() => createTokenizer({ ...source, tokenizer: { ...json, model: { type: "Unigram", vocab: [] } } })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(() => createTokenizer({ ...source, tokenizer: { ...json, model: { type: "BPE", vocab: { a: -1 }, merges: [] } } })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => createTokenizer({ ...source, tokenizer: { ...json, added_tokens: [{ id: "x" }] } })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => createTokenizer({ ...source, tokenizer: { ...json, pre_tokenizer: { type: "Nonsense" } } })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => createTokenizer({ ...source, tokenizer: null })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});

describe("chat templates", () => {
  // The template of SmolLM2-135M-Instruct (Apache-2.0).
  const template =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  const tokenizer = byteLevel("smollm", { "tokenizer.chat_template": template });

  test("render messages with the start of the answer", () => {
    const text = applyChatTemplate(tokenizer, [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi {{ x }}" }]);
    expect(text).toBe("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ x }}<|im_end|>\n<|im_start|>assistant\n");
    expect(applyChatTemplate(tokenizer, [{ role: "user", content: "Hi" }], { addGenerationPrompt: false })).toMatch(/^<\|im_start\|>system\nYou are.*<\|im_start\|>user\nHi<\|im_end\|>\n$/s);
    expect([...tokenizer.encode(text, { addSpecial: false })].filter((id) => id === 1)).toHaveLength(3);
  });

  test("that are missing or fail are UNSUPPORTED", () => {
    expect(() => applyChatTemplate(byteLevel("smollm"), [])).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(() => applyChatTemplate(byteLevel("smollm", { "tokenizer.chat_template": "{% if %}" }), [])).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    expect(() => applyChatTemplate(byteLevel("smollm", { "tokenizer.chat_template": "{{ raise_exception('roles must alternate') }}" }), [])).toThrow(/roles must alternate/);
  });
});

const tiny = fileURLToPath(new URL("../../models/tiny.gguf", import.meta.url));

test.skipIf(!existsSync(tiny))("the ids of the model tiny equal those of the tokenizers wheel it was trained with (skipped while models/tiny.gguf is not there)", async () => {
  const file = await openModelFile(tiny);
  const tokenizer = createTokenizer(file.tokenizerSource);
  file.close();
  const cases = (read("../../models/tiny-golden.json") as { encode: { text: string; ids: number[] }[] }).encode;
  expect(cases.length).toBeGreaterThan(0);
  for (const { text, ids } of cases) expect([...tokenizer.encode(text, { addSpecial: false })], JSON.stringify(text)).toEqual(ids);
});

const smollm2 = process.env["KVQUANT_TEST_SMOLLM2"];
const reason = smollm2 && existsSync(smollm2) ? "" : " (skipped: KVQUANT_TEST_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf)";

test.skipIf(reason !== "")(`SmolLM2's ids equal llama.cpp's${reason}`, async () => {
  const file = await openModelFile(smollm2!);
  const tokenizer = createTokenizer(file.tokenizerSource);
  file.close();
  const { texts, ids } = read("../../golden/tokenizer-smollm2.json") as { texts: string[]; ids: { smollm2: number[][] } };
  for (const [index, text] of texts.entries()) expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids.smollm2[index]);
  expect(tokenizer).toMatchObject({ bos: 1, eos: [2, 0], addBos: false, vocabulary: 49152 });
  expect(applyChatTemplate(tokenizer, [{ role: "user", content: "Hi" }])).toMatch(/<\|im_start\|>assistant\n$/);
});
