/** Laws of encoding: pure, each page for itself, nothing but finite pages taken. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import type { LawSubject, QuantizerLaw } from "./law.js";
import { codeOf, firstRows, mapMatrix, openSubject, sameBytes } from "./law-tools.js";

/** Laws of `BlockCodec.encode`. */
export const encodeLaws: readonly QuantizerLaw[] = [
  { title: "encodes the same page to the same bytes, whatever was encoded before", check: isPure },
  { title: "gives a page the same bytes whatever its neighbours, its place in the sequence and where its rows lie in memory", check: isIndependent },
  { title: "leaves its input alone", check: keepsInput },
  { title: "refuses NaN, infinity, no tokens and wrong shapes with INVALID_ARGUMENT", check: refusesBadInput },
];

function isPure(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const { page } = subject;
  const first = codec.encode(page);
  const copy = first.bytes.slice();
  codec.encode(mapMatrix(page, (value) => value * 1.5 - 0.25));
  codec.encode(firstRows(page, 5));
  if (!sameBytes(copy, first.bytes)) return "a later encode changed an earlier block";
  if (!sameBytes(copy, codec.encode(page).bytes)) return "bytes depend on what was encoded before";
  if (!sameBytes(copy, subject.quantizer.open(artifact).encode(page).bytes)) return "two codecs of one artifact disagree";
  return undefined;
}

/** Pages of a sequence, encoded in order: a page must come out as it does alone. */
function isIndependent(subject: LawSubject): string | undefined {
  const { artifact } = openSubject(subject);
  const { page } = subject;
  const open = (): ReturnType<typeof subject.quantizer.open> => subject.quantizer.open(artifact);
  const alone = open().encode(page).bytes;
  const neighbours = [mapMatrix(page, (value) => -3 * value), mapMatrix(page, () => 0), mapMatrix(page, (value, index) => value + (index % 7)), firstRows(page, 3)];
  for (const neighbour of neighbours) {
    const codec = open();
    codec.encode(neighbour);
    if (!sameBytes(alone, codec.encode(page).bytes)) return "bytes depend on the page before: a page must be readable, and be moved or shared, without its neighbours";
  }
  const sequence = open();
  for (let place = 0; place < 70; place++) {
    if (!sameBytes(alone, sequence.encode(page).bytes)) return `bytes depend on the place in the sequence: page ${place} differs from page 0`;
  }
  const buffer = new Float32Array(page.data.length + 11).fill(1e4);
  buffer.set(page.data, 7);
  const moved: Matrix = { ...page, data: buffer.subarray(7, 7 + page.data.length) };
  if (!sameBytes(alone, open().encode(moved).bytes)) return "bytes depend on where the rows lie in memory: the page was a view of a larger buffer";
  return undefined;
}

function keepsInput(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const before = subject.page.data.slice();
  codec.encode(subject.page);
  return before.every((value, index) => Object.is(value, subject.page.data[index])) ? undefined : "encode changed its input";
}

function refusesBadInput(subject: LawSubject): string | undefined {
  const { codec } = openSubject(subject);
  const { page } = subject;
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    for (const index of [0, page.data.length - 1]) {
      const code = codeOf(() => codec.encode(mapMatrix(page, (value, at) => (at === index ? bad : value))));
      if (code !== "INVALID_ARGUMENT") return `${bad} at ${index} gave ${code}`;
    }
  }
  const zeros = (rows: number, cols: number): Matrix => ({ data: new Float32Array(rows * cols), rows, cols });
  const shapes: [string, Matrix][] = [
    ["no tokens", firstRows(page, 0)],
    ["65 tokens", zeros(PAGE_TOKENS + 1, page.cols)],
    ["a column too many", zeros(2, page.cols + 1)],
    ["too little data", { data: new Float32Array(page.cols), rows: 2, cols: page.cols }],
  ];
  for (const [name, matrix] of shapes) {
    const code = codeOf(() => codec.encode(matrix));
    if (code !== "INVALID_ARGUMENT") return `${name} gave ${code}`;
  }
  return undefined;
}
