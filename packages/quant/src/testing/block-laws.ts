/** Laws of blocks: bytes alone decode, everything stored is counted, and damage is refused. */

import { bitsPerValue } from "@kvquant/spec";
import type { EncodedBlock } from "@kvquant/spec";
import { randomNumbers } from "./fixture.js";
import { NMSE_BOUNDS } from "./law.js";
import type { LawSubject, QuantizerLaw } from "./law.js";
import { codeOf, decodeBlock, firstRows, mapMatrix, meanSquare, openSubject, poisoned, relativeError, sameNumbers, spread } from "./law-tools.js";

/** Laws of `BlockCodec.decode` and of what lies in between. */
export const blockLaws: readonly QuantizerLaw[] = [
  { title: "decodes a page to within the error bound of its bits", check: staysInBounds },
  { title: "encodes pages of 1, 2, 63 and 64 tokens, and decodes exactly the tokens held", check: takesPartialPages },
  { title: "decodes zeros, equal numbers and fp16's largest numbers to finite numbers", check: takesExtremes },
  { title: "decodes a block the same, whatever was decoded before and whatever lies in the output", check: decodesPurely },
  { title: "counts everything it stores: bytes alone are enough to decode", check: storesEverything },
  { title: "spends at least its code bits, and counts its damage", check: countsBits },
  { title: "refuses an output of another shape with INVALID_ARGUMENT", check: refusesBadOutput },
  { title: "refuses cut and lengthened blocks with CORRUPT_DATA", check: refusesCutBlocks },
  { title: "decodes changed bytes to some numbers, or refuses them with CORRUPT_DATA", check: survivesChanges },
];

function staysInBounds(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const { page } = subject;
  const error = relativeError(page, { ...page, data: decodeBlock(codec, codec.encode(page), page.cols) });
  const bound = subject.nmse ?? NMSE_BOUNDS[artifact.bits]!;
  return error <= bound ? undefined : `relative error ${error}, expected at most ${bound} for ${artifact.bits} bits`;
}

function takesPartialPages(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const bound = 2 * (subject.nmse ?? NMSE_BOUNDS[artifact.bits]!);
  for (const tokens of [1, 2, 63, 64]) {
    const part = firstRows(subject.page, tokens);
    const block = codec.encode(part);
    if (block.tokens !== tokens) return `a block of ${tokens} tokens says ${block.tokens}`;
    const data = decodeBlock(codec, block, part.cols);
    if (!data.every(Number.isFinite)) return `${tokens} tokens decode to numbers that are not finite`;
    // The variance of few tokens says little; they must not be off by more than the same bound relative to the whole page's.
    const error = meanSquare(part, { ...part, data }) / spread(subject.page);
    if (error > bound) return `${tokens} tokens: relative error ${error}, expected at most ${bound}`;
  }
  return undefined;
}

function takesExtremes(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  const pages: [string, (value: number, index: number) => number][] = [
    ["zeros", () => 0],
    ["negative zeros", () => -0],
    ["a page of one number", () => 0.3],
    ["numbers of 1e-30", (value) => 1e-30 * value],
    ["fp16's largest numbers", (_, index) => (index % 3 === 0 ? -65504 : 65504)],
    ["one large number among zeros", (_, index) => (index === page.cols + 1 ? 65504 : 0)],
  ];
  for (const [name, change] of pages) {
    for (const tokens of [64, 1]) {
      const part = firstRows(mapMatrix(page, change), tokens);
      const at = decodeBlock(codec, codec.encode(part), page.cols).findIndex((value) => !Number.isFinite(value));
      if (at >= 0) return `${name}, ${tokens} tokens: not finite at index ${at}`;
    }
  }
  return undefined;
}

function decodesPurely(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  const block = codec.encode(page);
  const once = decodeBlock(codec, block, page.cols);
  const other = codec.encode(mapMatrix(page, (value) => 2 - value));
  decodeBlock(codec, other, page.cols);
  codec.encode(firstRows(page, 7));
  if (!sameNumbers(once, decodeBlock(codec, block, page.cols))) return "decoded numbers depend on what was coded in between";
  const zeros = { data: new Float32Array(page.data.length), rows: page.rows, cols: page.cols };
  codec.decode(block, zeros);
  if (!sameNumbers(once, zeros.data)) return "decoded numbers depend on what the output held before";
  const buffer = new Float32Array(page.data.length + 6).fill(7);
  codec.decode(block, { ...page, data: buffer.subarray(3, 3 + page.data.length) });
  if (!sameNumbers(once, buffer.slice(3, 3 + page.data.length))) return "decoded numbers depend on where the output lies in memory";
  if (buffer.subarray(0, 3).some((value) => value !== 7) || buffer.subarray(-3).some((value) => value !== 7)) return "decode wrote outside its output";
  return undefined;
}

function storesEverything(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const { page } = subject;
  const block = codec.encode(page);
  const direct = decodeBlock(codec, block, page.cols);
  // Other pages in between push out whatever a quantizer keeps of the last one; the new codec sees nothing but the bytes, at an odd offset of a larger buffer.
  for (let shift = 1; shift <= 3; shift++) codec.encode(mapMatrix(page, (value) => value / 2 + shift));
  const buffer = new Uint8Array(block.bytes.length + 3);
  buffer.set(block.bytes, 3);
  const bare: EncodedBlock = { tokens: block.tokens, bytes: buffer.subarray(3), saturated: 0, clamped: 0 };
  return sameNumbers(direct, decodeBlock(subject.quantizer.open(artifact), bare, page.cols)) ? undefined : "the bytes alone decode to other numbers: what is needed besides must be stored in them";
}

function countsBits(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const block = codec.encode(subject.page);
  const bits = bitsPerValue(block, subject.page.cols);
  if (bits < artifact.bits) return `${bits} bits a value for codes of ${artifact.bits}`;
  for (const count of ["saturated", "clamped"] as const) {
    if (!Number.isInteger(block[count]) || block[count] < 0) return `${count} is ${String(block[count])}, expected a count`;
  }
  return undefined;
}

function refusesBadOutput(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  const block = codec.encode(page);
  const outputs: [string, ReturnType<typeof poisoned>][] = [
    ["a row too few", poisoned(page.rows - 1, page.cols)],
    ["a column too many", poisoned(page.rows, page.cols + 1)],
    ["too little data", { ...poisoned(1, page.cols), rows: page.rows }],
  ];
  for (const [name, out] of outputs) {
    const code = codeOf(() => codec.decode(block, out));
    if (code !== "INVALID_ARGUMENT") return `${name} gave ${code}`;
  }
  return undefined;
}

function refusesCutBlocks(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  const block = codec.encode(page);
  const lengths = [0, 1, Math.floor(block.bytes.length / 2), block.bytes.length - 1, block.bytes.length + 1];
  for (const length of lengths) {
    const bytes = new Uint8Array(length);
    bytes.set(block.bytes.subarray(0, length));
    const code = codeOf(() => codec.decode({ ...block, bytes }, poisoned(page.rows, page.cols)));
    if (code !== "CORRUPT_DATA") return `${length} of ${block.bytes.length} bytes gave ${code}`;
  }
  for (const tokens of [0, 65, 1.5]) {
    const code = codeOf(() => codec.decode({ ...block, tokens }, poisoned(page.rows, page.cols)));
    if (code !== "CORRUPT_DATA") return `${tokens} tokens gave ${code}`;
  }
  return undefined;
}

function survivesChanges(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  const block = codec.encode(page);
  const random = randomNumbers(31);
  // The first and last bytes, where headers and scales lie, and others; every second one full of ones, which makes halves and floats that are none.
  for (let change = 0; change < 96; change++) {
    const bytes = block.bytes.slice();
    const place = (change < 32 ? change : change < 64 ? 2 * bytes.length - 1 - change : Math.floor(random() * bytes.length)) % bytes.length;
    bytes[place] = change % 2 === 1 ? 255 : bytes[place]! ^ (1 + Math.floor(random() * 255));
    const out = poisoned(page.rows, page.cols);
    const code = codeOf(() => codec.decode({ ...block, bytes }, out));
    if (code !== "nothing" && code !== "CORRUPT_DATA") return `a changed byte ${place} gave ${code}`;
    if (code === "nothing" && !out.data.every(Number.isFinite)) return `a changed byte ${place} decodes to numbers that are not finite`;
  }
  return undefined;
}
