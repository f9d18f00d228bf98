/** Laws that every quantizer keeps, as plain functions. */

import { bitsPerValue, KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import type { EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import { decodeContainer, encodeContainer } from "../artifact/container.js";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import type { Quantizer } from "../quantizer.js";

/** What a quantizer is tried on. */
export interface LawSubject {
  readonly quantizer: Quantizer;
  readonly statistics: LayerStatistics;
  /** A full page `[64, kvHeads * headDim]` like the calibration data. */
  readonly page: Matrix;
  /** Largest sum of squared errors over the page, relative to the page's variance around channel means; default by bits, `NMSE_BOUNDS`. */
  readonly nmse?: number;
}

/** A law; `check` returns what is wrong, or `undefined`. */
export interface QuantizerLaw {
  readonly title: string;
  check(subject: LawSubject): string | undefined;
}

/** Largest error of a round trip by bits of a code, for data with outliers and offline ranges. */
export const NMSE_BOUNDS: Readonly<Record<number, number>> = { 1: 1, 2: 0.8, 3: 0.25, 4: 0.07, 5: 0.02, 8: 0.002 };

/** All laws. */
export const quantizerLaws: readonly QuantizerLaw[] = [
  { title: "fits to the same artifact every time", check: fitsDeterministically },
  { title: "decodes a page to within the error bound of its bits", check: staysInBounds },
  { title: "encodes the same page to the same bytes, whatever was encoded before", check: isPure },
  { title: "leaves its input alone", check: keepsInput },
  { title: "refuses NaN, infinity and wrong shapes with INVALID_ARGUMENT", check: refusesBadInput },
  { title: "encodes pages of 1, 2, 63 and 64 tokens, and decodes exactly the tokens held", check: takesPartialPages },
  { title: "works the same after its artifact went through a file", check: survivesSerialisation },
  { title: "counts everything it stores: bytes alone are enough to decode", check: storesEverything },
  { title: "spends at least its code bits", check: countsBits },
  { title: "refuses cut and lengthened blocks with CORRUPT_DATA", check: refusesCutBlocks },
];

/** Titles of the broken laws with what is wrong; empty when the quantizer keeps them all. */
export function findBrokenLaws(subject: LawSubject): string[] {
  const broken: string[] = [];
  for (const law of quantizerLaws) {
    let problem: string | undefined;
    try {
      problem = law.check(subject);
    } catch (error) {
      problem = `threw ${String(error)}`;
    }
    if (problem !== undefined) broken.push(`${law.title}: ${problem}`);
  }
  return broken;
}

/** Throws an Error naming every broken law. */
export function assertLaws(subject: LawSubject): void {
  const broken = findBrokenLaws(subject);
  if (broken.length > 0) throw new Error(`${subject.quantizer.id} breaks ${broken.length} laws:\n${broken.join("\n")}`);
}

/** Error of a decoded page relative to the variance around the mean of each column. */
export function relativeError(page: Matrix, decoded: Matrix): number {
  let error = 0;
  let variance = 0;
  for (let col = 0; col < page.cols; col++) {
    let mean = 0;
    for (let row = 0; row < page.rows; row++) mean += page.data[row * page.cols + col]! / page.rows;
    for (let row = 0; row < page.rows; row++) {
      error += (page.data[row * page.cols + col]! - decoded.data[row * page.cols + col]!) ** 2;
      variance += (page.data[row * page.cols + col]! - mean) ** 2;
    }
  }
  return error / variance;
}

function open({ quantizer, statistics }: LawSubject): { artifact: QuantizerArtifact; codec: ReturnType<Quantizer["open"]> } {
  const artifact = quantizer.fit(statistics);
  return { artifact, codec: quantizer.open(artifact) };
}

function poisoned(rows: number, cols: number): Matrix {
  return { data: new Float32Array(rows * cols).fill(Number.NaN), rows, cols };
}

function firstRows({ data, cols }: Matrix, rows: number): Matrix {
  return { data: data.slice(0, rows * cols), rows, cols };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function sameNumbers(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, index) => Object.is(value, b[index]));
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return KvquantError.isInstance(error) ? error.code : `another error (${String(error)})`;
  }
  return "nothing";
}

function fitsDeterministically({ quantizer, statistics }: LawSubject): string | undefined {
  const once = quantizer.fit(statistics);
  const again = quantizer.fit(statistics);
  if (once.id !== quantizer.id) return `artifact id ${once.id}, expected ${quantizer.id}`;
  for (const [name, array] of Object.entries(once.arrays)) {
    const other = again.arrays[name];
    if (other === undefined || !sameNumbers(array, other)) return `array ${name} differs`;
    if (!array.every(Number.isFinite)) return `array ${name} holds a number that is not finite`;
  }
  return undefined;
}

function staysInBounds(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const { page } = subject;
  const out = poisoned(page.rows, page.cols);
  codec.decode(codec.encode(page), out);
  const error = relativeError(page, out);
  const bound = subject.nmse ?? NMSE_BOUNDS[artifact.bits]!;
  return error <= bound ? undefined : `relative error ${error}, expected at most ${bound} for ${artifact.bits} bits`;
}

function isPure(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const { page } = subject;
  const first = codec.encode(page);
  const copy = first.bytes.slice();
  codec.encode({ ...page, data: page.data.map((value) => value * 1.5 - 0.25) });
  codec.encode(firstRows(page, 5));
  const second = codec.encode(page);
  if (!sameBytes(copy, second.bytes)) return "bytes depend on what was encoded before";
  if (!sameBytes(copy, first.bytes)) return "a later encode changed an earlier block";
  if (!sameBytes(copy, subject.quantizer.open(artifact).encode(page).bytes)) return "two codecs of one artifact disagree";
  return undefined;
}

function keepsInput(subject: LawSubject): string | undefined {
  const { codec } = open(subject);
  const before = subject.page.data.slice();
  codec.encode(subject.page);
  return sameNumbers(before, subject.page.data) ? undefined : "encode changed its input";
}

function refusesBadInput(subject: LawSubject): string | undefined {
  const { codec } = open(subject);
  const { page } = subject;
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    for (const index of [0, page.data.length - 1]) {
      const data = page.data.slice();
      data[index] = bad;
      const code = codeOf(() => codec.encode({ ...page, data }));
      if (code !== "INVALID_ARGUMENT") return `${bad} at ${index} gave ${code}`;
    }
  }
  const shapes: [string, Matrix][] = [
    ["no tokens", firstRows(page, 0)],
    ["65 tokens", poisonless(PAGE_TOKENS + 1, page.cols)],
    ["a column too many", poisonless(2, page.cols + 1)],
    ["too little data", { data: new Float32Array(page.cols), rows: 2, cols: page.cols }],
  ];
  for (const [name, matrix] of shapes) {
    const code = codeOf(() => codec.encode(matrix));
    if (code !== "INVALID_ARGUMENT") return `${name} gave ${code}`;
  }
  return undefined;
}

function poisonless(rows: number, cols: number): Matrix {
  return { data: new Float32Array(rows * cols), rows, cols };
}

function takesPartialPages(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const bound = 2 * (subject.nmse ?? NMSE_BOUNDS[artifact.bits]!);
  for (const tokens of [1, 2, 63, 64]) {
    const part = firstRows(subject.page, tokens);
    const block = codec.encode(part);
    if (block.tokens !== tokens) return `a block of ${tokens} tokens says ${block.tokens}`;
    const out = poisoned(tokens, part.cols);
    codec.decode(block, out);
    if (!out.data.every(Number.isFinite)) return `${tokens} tokens decode to numbers that are not finite`;
    // The variance of few tokens says little; they must not be off by more than the same bound relative to the whole page's.
    const error = meanSquare(part, out) / spread(subject.page);
    if (error > bound) return `${tokens} tokens: relative error ${error}, expected at most ${bound}`;
  }
  return undefined;
}

function meanSquare(page: Matrix, decoded: Matrix): number {
  return page.data.reduce((sum, value, index) => sum + (value - decoded.data[index]!) ** 2, 0) / page.data.length;
}

/** Mean variance of the columns. */
function spread(page: Matrix): number {
  const means = { ...page, data: page.data.slice() };
  for (let col = 0; col < page.cols; col++) {
    let mean = 0;
    for (let row = 0; row < page.rows; row++) mean += page.data[row * page.cols + col]! / page.rows;
    for (let row = 0; row < page.rows; row++) means.data[row * page.cols + col] = mean;
  }
  return meanSquare(page, means);
}

function survivesSerialisation(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const kind = { magic: "LAWS", version: 1, name: "artifact under test" };
  const names = Object.keys(artifact.arrays);
  const { header, arrays } = decodeContainer(kind, encodeContainer(kind, { header: { ...artifact, arrays: names }, arrays: Object.values(artifact.arrays) }));
  const restored = { ...(header as QuantizerArtifact), arrays: Object.fromEntries(names.map((name, index) => [name, arrays[index] as Float32Array])) };
  const block = codec.encode(subject.page);
  const reopened = subject.quantizer.open(restored);
  if (!sameBytes(block.bytes, reopened.encode(subject.page).bytes)) return "bytes differ";
  const direct = poisoned(subject.page.rows, subject.page.cols);
  const later = poisoned(subject.page.rows, subject.page.cols);
  codec.decode(block, direct);
  reopened.decode(block, later);
  return sameNumbers(direct.data, later.data) ? undefined : "decoded numbers differ";
}

function storesEverything(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const block = codec.encode(subject.page);
  const direct = poisoned(subject.page.rows, subject.page.cols);
  codec.decode(block, direct);
  // A new codec that sees nothing but the bytes, at an odd offset of a larger buffer.
  const buffer = new Uint8Array(block.bytes.length + 3);
  buffer.set(block.bytes, 3);
  const bare: EncodedBlock = { tokens: block.tokens, bytes: buffer.subarray(3), saturated: 0, clamped: 0 };
  const out = poisoned(subject.page.rows, subject.page.cols);
  subject.quantizer.open(artifact).decode(bare, out);
  return sameNumbers(direct.data, out.data) ? undefined : "the bytes alone decode to other numbers";
}

function countsBits(subject: LawSubject): string | undefined {
  const { artifact, codec } = open(subject);
  const bits = bitsPerValue(codec.encode(subject.page), subject.page.cols);
  return bits >= artifact.bits ? undefined : `${bits} bits a value for codes of ${artifact.bits}`;
}

function refusesCutBlocks(subject: LawSubject): string | undefined {
  const { codec } = open(subject);
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
