/** The golden pages that TypeScript, C++ and CUDA share: plans and pages made by integer rules that every language follows exactly. */

import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import { crc32 } from "../artifact/crc32.js";
import { channelKeys } from "../quantizers/channel-keys.js";
import { headPacking } from "../quantizers/head-packing.js";
import type { CodeBits } from "../quantizers/head-packing.js";
import { pageKeys } from "../quantizers/page-keys.js";
import { rotatedValues } from "../quantizers/rotated-values.js";
import { tokenValues } from "../quantizers/token-values.js";

/** One page of the file. */
export interface GoldenPage {
  readonly family: "channel-keys" | "page-keys" | "token-values" | "rotated-values";
  readonly bits: CodeBits;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  /** Keys: 1 with outliers; token values: how many a token; else 0. */
  readonly outliers: number;
  readonly feedback: 0 | 1;
  readonly tokens: number;
  readonly seed: number;
}

const COMMENT = `# Golden pages: what every implementation of the page format must write and read, bit for bit.
# Made by: KVQUANT_UPDATE_GOLDEN=1 npx vitest run packages/quant/src/quantizers/golden-pages.test.ts
# Checked by that test and by native/test/codec.test.cpp.
#
# page family bits kv_heads head_dim rotary_dim outliers feedback tokens seed : plan_crc input_crc bytes block_crc saturated clamped decoded_crc
# hex BYTES       the block of the page before, whole
# change PLACE XOR RESULT   that block with one byte changed: the checksum of its decoded numbers, or "corrupt"
#
# CRC-32 as in zip, hexadecimal, over little-endian bytes; plan_crc covers every array in the order in which it is made, as fp32; decoded_crc the fp32 rows [tokens, kv_heads * head_dim].
# outliers: channel-keys 0 or 1; token-values how many a token over all heads.
#
# draw() is xorshift32: s ^= s << 13, s ^= s >> 17, s ^= s << 5 in 32 bits, starting from the seed. All arithmetic is fp32, rounded after every operation; / is exact unless said.
# C = kv_heads * head_dim columns, n = 2^bits levels.
#   level     [n]     k / 127 rounded, k = floor(254 i (i + n) / ((n - 1)(2 n - 1))) - 127
#   midpoint  [n - 1] (k_i + k_(i+1)) / 254 rounded
#   keys      for each column: scale = (8 + draw() % 9) / 8, zero = (draw() % 65 - 32) / 16; channel 0 of each head then has scale 1, zero 0.  [C] scales, then [C] zeros
#             channel-keys: low = zero - scale, high = zero + scale.  [C], [C]
#             feedback: order of head h: rank r is channel (7 r + 3 + h) % head_dim.  [C];  weights W_jz, head after head: (draw() % 33 - 16) / 256
#   rotated   for each column: mean = (draw() % 65 - 32) / 32, deviation = (4 + draw() % 13) / 8.  [C] means, then [C] deviations
#   x         for each token, for each column: d = draw(), spread = scale and center = zero of the column for keys, else spread = 1 and center = (column % 7 - 3) / 4;
#             v = ((d >> 8) / 2^23 - 1) * spread + center;  then by d % 256:  0, 1, 2: v * 8;  3: -0;  4: 0;  5, 6, 7: midpoint[(d >> 8) % (n - 1)] * spread + center
#             then by token, unless seed % 3 is 0:  5: (4 + 5 * column % 11), negative in odd columns;  7: 0.5;  9: 60000 where column % 16 is 5;  11: 100000 in column 1, -100000 in column 2
#             then, where column % 32 is 9: center;  where it is 25: center - spread * 3 / 128 (keys: a zero point halfway between two stored ones)
`;

const HEAD_DIMS = [64, 80, 96, 128, 256];
const WIDTHS: readonly CodeBits[] = [2, 3, 4, 5];
/** Pages whose bytes the file holds whole. */
const isWhole = (page: GoldenPage): boolean => page.headDim === 16;

/** The pages of the file. */
export function goldenPages(): GoldenPage[] {
  const pages: Omit<GoldenPage, "seed">[] = [];
  const partial = [37, 1, 63, 5];
  for (const bits of WIDTHS) {
    HEAD_DIMS.forEach((headDim, index) => {
      const shape = { bits, kvHeads: 2, headDim, rotaryDim: headDim };
      for (const tokens of [64, partial[(index + bits) % 4]!]) {
        pages.push(
          { ...shape, family: "channel-keys", outliers: 1, feedback: 1, tokens },
          { ...shape, family: "page-keys", outliers: 0, feedback: 1, tokens },
          { ...shape, family: "token-values", outliers: 2 + (index % 2) * 20, feedback: 0, tokens },
          { ...shape, family: "rotated-values", outliers: 0, feedback: 0, tokens },
        );
      }
    });
    const odd = { bits, kvHeads: 3, headDim: 48, rotaryDim: 32 };
    pages.push(
      { ...odd, family: "channel-keys", outliers: 0, feedback: 0, tokens: 64 },
      { ...odd, family: "channel-keys", outliers: 0, feedback: 1, tokens: 64 },
      { ...odd, family: "channel-keys", outliers: 1, feedback: 0, tokens: 41 },
      { ...odd, family: "page-keys", outliers: 0, feedback: 0, tokens: 15 },
      { ...odd, family: "token-values", outliers: 0, feedback: 0, tokens: 33 },
      { ...odd, family: "token-values", outliers: 72, feedback: 0, tokens: 64 },
    );
  }
  const small = { bits: 3, kvHeads: 1, headDim: 16, rotaryDim: 16, tokens: 9 } as const;
  pages.push(
    { ...small, family: "channel-keys", outliers: 1, feedback: 1 },
    { ...small, family: "page-keys", outliers: 0, feedback: 1 },
    { ...small, family: "token-values", outliers: 1, feedback: 0 },
    { ...small, family: "rotated-values", outliers: 0, feedback: 0 },
  );
  return pages.map((page, index) => ({ ...page, seed: 1000003 * (index + 1) }));
}

/** The text of golden/pages.txt. */
export function goldenPagesText(): string {
  let text = COMMENT;
  for (const page of goldenPages()) {
    const made = makeGoldenPage(page);
    const block = made.codec.encode(made.x);
    const out = { data: new Float32Array(made.x.data.length).fill(Number.NaN), rows: made.x.rows, cols: made.x.cols };
    made.codec.decode(block, out);
    const { family, bits, kvHeads, headDim, rotaryDim, outliers, feedback, tokens, seed } = page;
    text += `page ${[family, bits, kvHeads, headDim, rotaryDim, outliers, feedback, tokens, seed].join(" ")} : `;
    text += `${[made.planChecksum, checksum(made.x.data), block.bytes.length, hex(crc32(block.bytes)), block.saturated, block.clamped, checksum(out.data)].join(" ")}\n`;
    if (isWhole(page)) text += `hex ${Buffer.from(block.bytes).toString("hex")}\n${changesText(made.codec, block, page)}`;
  }
  return text;
}

/** Lines of single changed bytes: most of them in what readers check, behind the codes. */
function changesText(codec: BlockCodec, block: EncodedBlock, { headDim, bits, kvHeads, tokens, seed }: GoldenPage): string {
  const draw = drawsFrom(seed ^ 0x5eed);
  const codes = kvHeads * 8 * headDim * bits;
  let text = "";
  for (let index = 0; index < 60; index++) {
    const place = index % 10 === 0 ? draw() % codes : codes + (draw() % (block.bytes.length - codes));
    const change = 1 + (draw() % 255);
    const bytes = block.bytes.slice();
    bytes[place]! ^= change;
    const out = { data: new Float32Array(tokens * kvHeads * headDim), rows: tokens, cols: kvHeads * headDim };
    let result: string;
    try {
      codec.decode({ ...block, bytes }, out);
      result = checksum(out.data);
    } catch (error) {
      if (!KvquantError.isInstance(error) || error.code !== "CORRUPT_DATA") throw error;
      result = "corrupt";
    }
    text += `change ${place} ${change} ${result}\n`;
  }
  return text;
}

/** Codec and input of one page. */
function makeGoldenPage(page: GoldenPage): { codec: BlockCodec; x: Matrix; planChecksum: string } {
  const draw = drawsFrom(page.seed);
  const plan = makePlan(page, draw);
  return { codec: openPlan(page, plan), x: makeInput(page, plan, draw), planChecksum: hex(crc32(bytesOf(Object.values(plan).flatMap((array) => [...array])))) };
}

function drawsFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    return state;
  };
}

/** The arrays of a plan, in the order in which they are made. */
function makePlan({ family, bits, kvHeads, headDim, feedback }: GoldenPage, draw: () => number): Record<string, Float32Array> {
  const columns = kvHeads * headDim;
  const n = 2 ** bits;
  const grid = Array.from({ length: n }, (_, i) => Math.floor((254 * i * (i + n)) / ((n - 1) * (2 * n - 1))) - 127);
  const levels = Float32Array.from(grid, (k) => k / 127);
  const midpoints = Float32Array.from(grid.slice(1), (k, i) => (grid[i]! + k) / 254);
  const pair = (make: () => readonly [number, number]): [Float32Array, Float32Array] => {
    const [first, second] = [new Float32Array(columns), new Float32Array(columns)];
    for (let column = 0; column < columns; column++) [first[column], second[column]] = make();
    return [first, second];
  };
  if (family === "token-values") return { levels, midpoints };
  if (family === "rotated-values") {
    const [mean, deviation] = pair(() => [((draw() % 65) - 32) / 32, (4 + (draw() % 13)) / 8]);
    return { levels, midpoints, mean, deviation };
  }
  const [scale, zero] = pair(() => [(8 + (draw() % 9)) / 8, ((draw() % 65) - 32) / 16]);
  for (let head = 0; head < kvHeads; head++) [scale[head * headDim], zero[head * headDim]] = [1, 0];
  const thresholds = family === "channel-keys" ? { low: zero.map((z, column) => z - scale[column]!), high: zero.map((z, column) => z + scale[column]!) } : {};
  if (feedback === 0) return { levels, midpoints, scale, zero, ...thresholds };
  const feedbackOrder = Float32Array.from({ length: columns }, (_, index) => (7 * (index % headDim) + 3 + Math.floor(index / headDim)) % headDim);
  const feedbackWeights = Float32Array.from({ length: (columns * (headDim - 1)) / 2 }, () => ((draw() % 33) - 16) / 256);
  return { levels, midpoints, scale, zero, ...thresholds, feedbackOrder, feedbackWeights };
}

function openPlan({ family, bits, kvHeads, headDim, rotaryDim, outliers, feedback }: GoldenPage, plan: Record<string, Float32Array>): BlockCodec {
  const keys = family === "channel-keys" || family === "page-keys";
  const stages = [...(keys && outliers > 0 ? ["outliers:channel"] : []), ...(feedback ? ["feedback"] : [])];
  const arrays = { geometry: Float32Array.of(kvHeads, headDim, rotaryDim), ...plan, ...(family === "token-values" && { outliers: Float32Array.of(outliers) }) };
  const artifact: QuantizerArtifact = { id: `kvquant/${family}`, bits, packing: headPacking(keys ? "key" : "value", bits, headDim).id, stages, arrays };
  switch (family) {
    case "channel-keys":
      return channelKeys({ bits }).open(artifact);
    case "page-keys":
      return pageKeys({ bits }).open(artifact);
    case "token-values":
      return tokenValues({ bits }).open(artifact);
    case "rotated-values":
      return rotatedValues({ bits }).open(artifact);
  }
}

function makeInput({ kvHeads, headDim, tokens, seed }: GoldenPage, plan: Record<string, Float32Array>, draw: () => number): Matrix {
  const { scale, zero, midpoints } = plan;
  const columns = kvHeads * headDim;
  const data = new Float32Array(tokens * columns);
  for (let token = 0; token < tokens; token++) {
    for (let column = 0; column < columns; column++) {
      const spread = scale?.[column] ?? 1;
      const center = zero?.[column] ?? ((column % 7) - 3) / 4;
      const place = (x: number): number => Math.fround(Math.fround(x * spread) + center);
      const drawn = draw();
      let value = place((drawn >>> 8) / 2 ** 23 - 1);
      const kind = drawn & 255;
      if (kind < 3) value *= 8;
      else if (kind === 3) value = -0;
      else if (kind === 4) value = 0;
      else if (kind < 8) value = place(midpoints![(drawn >>> 8) % midpoints!.length]!);
      if (seed % 3 !== 0) value = specialToken(token, column) ?? value;
      if (column % 32 === 9) value = center;
      else if (column % 32 === 25) value = place(-3 / 128);
      data[token * columns + column] = value;
    }
  }
  return { data, rows: tokens, cols: columns };
}

/** Tokens that saturate, are constant, or lie far outside. */
function specialToken(token: number, column: number): number | undefined {
  if (token === 5) return (4 + ((5 * column) % 11)) * (column % 2 === 1 ? -1 : 1);
  if (token === 7) return 0.5;
  if (token === 9 && column % 16 === 5) return 60000;
  if (token === 11 && (column === 1 || column === 2)) return column === 1 ? 100000 : -100000;
  return undefined;
}

function bytesOf(numbers: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(4 * numbers.length);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < numbers.length; index++) view.setFloat32(4 * index, numbers[index]!, true);
  return bytes;
}

function checksum(numbers: ArrayLike<number>): string {
  return hex(crc32(bytesOf(numbers)));
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
