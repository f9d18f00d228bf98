// Writes a small qwen2-architecture GGUF (version 3) with random F32 weights and biases on q, k and v.
import { writeFileSync } from "node:fs";

const CONFIG = { layers: 2, width: 128, queryHeads: 4, kvHeads: 2, headDim: 32, feedForward: 192, vocabulary: 257 };
const TYPES = { uint32: 4, float32: 6, string: 8, array: 9 };
const ALIGNMENT = 32;

/** Writes the file; the weights follow a fixed seed. */
export function writeRandomQwen2(path) {
  const { layers, width, queryHeads, kvHeads, headDim, feedForward, vocabulary } = CONFIG;
  const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
  const metadata = [
    ["general.architecture", "string", "qwen2"],
    ["general.name", "string", "random qwen2"],
    ["general.alignment", "uint32", ALIGNMENT],
    ["qwen2.block_count", "uint32", layers],
    ["qwen2.context_length", "uint32", 512],
    ["qwen2.embedding_length", "uint32", width],
    ["qwen2.feed_forward_length", "uint32", feedForward],
    ["qwen2.attention.head_count", "uint32", queryHeads],
    ["qwen2.attention.head_count_kv", "uint32", kvHeads],
    ["qwen2.attention.layer_norm_rms_epsilon", "float32", 1e-6],
    ["qwen2.rope.freq_base", "float32", 1000000],
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "qwen2"],
    ["tokenizer.ggml.tokens", "array", [...bytes, "<|endoftext|>"]],
    ["tokenizer.ggml.token_type", "array", [...bytes.map(() => 1), 3]],
    ["tokenizer.ggml.merges", "array", [`${bytes[97]} ${bytes[98]}`]],
    ["tokenizer.ggml.eos_token_id", "uint32", 256],
  ];
  const tensors = [["token_embd.weight", [width, vocabulary], 1], ["output.weight", [width, vocabulary], 0.4], ["output_norm.weight", [width], 0.3, 1]];
  for (let layer = 0; layer < layers; layer++) {
    const name = (part) => `blk.${layer}.${part}`;
    tensors.push(
      [name("attn_norm.weight"), [width], 0.3, 1],
      [name("attn_q.weight"), [width, queryHeads * headDim], 0.25],
      [name("attn_k.weight"), [width, kvHeads * headDim], 0.25],
      [name("attn_v.weight"), [width, kvHeads * headDim], 0.25],
      [name("attn_q.bias"), [queryHeads * headDim], 1],
      [name("attn_k.bias"), [kvHeads * headDim], 1],
      [name("attn_v.bias"), [kvHeads * headDim], 1],
      [name("attn_output.weight"), [queryHeads * headDim, width], 0.2],
      [name("ffn_norm.weight"), [width], 0.3, 1],
      [name("ffn_gate.weight"), [width, feedForward], 0.2],
      [name("ffn_up.weight"), [width, feedForward], 0.2],
      [name("ffn_down.weight"), [feedForward, width], 0.2],
    );
  }
  writeFileSync(path, encodeGguf(metadata, tensors));
}

/** GPT-2's printable stand-in for a byte. */
function byteToken(byte) {
  const printable = (value) => (value >= 33 && value <= 126) || (value >= 161 && value <= 172) || (value >= 174 && value <= 255);
  if (printable(byte)) return String.fromCodePoint(byte);
  let before = 0;
  for (let other = 0; other < byte; other++) if (!printable(other)) before++;
  return String.fromCodePoint(256 + before);
}

function encodeGguf(metadata, tensors) {
  const head = [];
  const u32 = (value) => head.push(Buffer.from(Uint32Array.of(value).buffer));
  const u64 = (value) => head.push(Buffer.from(BigUint64Array.of(BigInt(value)).buffer));
  const text = (value) => {
    const encoded = Buffer.from(value, "utf8");
    u64(encoded.length);
    head.push(encoded);
  };
  const scalar = (type, value) => {
    if (type === "string") text(value);
    else if (type === "float32") head.push(Buffer.from(Float32Array.of(value).buffer));
    else u32(value);
  };
  head.push(Buffer.from("GGUF"));
  u32(3);
  u64(tensors.length);
  u64(metadata.length);
  for (const [key, type, value] of metadata) {
    text(key);
    u32(TYPES[type]);
    if (type !== "array") scalar(type, value);
    else {
      const element = typeof value[0] === "string" ? "string" : "uint32";
      // Token types are signed in the format (type 5); the values here are the same in both.
      u32(element === "string" ? TYPES.string : 5);
      u64(value.length);
      for (const item of value) scalar(element, item);
    }
  }
  let offset = 0;
  for (const [name, shape] of tensors) {
    text(name);
    u32(shape.length);
    for (const size of shape) u64(size);
    u32(0);
    u64(offset);
    offset += aligned(4 * shape.reduce((product, size) => product * size, 1));
  }
  const header = Buffer.concat(head);
  const random = createRandom(11);
  const data = tensors.map(([, shape, spread, centre = 0]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length: count }, () => centre + spread * (random() * 2 - 1));
    return Buffer.concat([Buffer.from(values.buffer), Buffer.alloc(aligned(4 * count) - 4 * count)]);
  });
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length), ...data]);
}

function aligned(length) {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

function createRandom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
