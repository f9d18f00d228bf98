/** What the laws of quantizers measure with. */

import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import type { Quantizer } from "../quantizer.js";
import type { LawSubject } from "./law.js";

const artifacts = new WeakMap<Quantizer, WeakMap<LayerStatistics, QuantizerArtifact>>();

/** A fitted quantizer with a new codec. It is fitted once for all laws, because some take seconds to fit; a law of its own asks for the same artifact every time. */
export function openSubject({ quantizer, statistics }: Pick<LawSubject, "quantizer" | "statistics">): { artifact: QuantizerArtifact; codec: BlockCodec } {
  let fitted = artifacts.get(quantizer);
  if (fitted === undefined) artifacts.set(quantizer, (fitted = new WeakMap()));
  let artifact = fitted.get(statistics);
  if (artifact === undefined) fitted.set(statistics, (artifact = quantizer.fit(statistics)));
  return { artifact, codec: quantizer.open(artifact) };
}

/** Numbers of a block, decoded into an output full of NaN. */
export function decodeBlock(codec: BlockCodec, block: EncodedBlock, cols: number): Float32Array {
  const out = poisoned(block.tokens, cols);
  codec.decode(block, out);
  return out.data;
}

/** A matrix of NaN. */
export function poisoned(rows: number, cols: number): Matrix {
  return { data: new Float32Array(rows * cols).fill(Number.NaN), rows, cols };
}

/** The first rows of a matrix, copied. */
export function firstRows({ data, cols }: Matrix, rows: number): Matrix {
  return { data: data.slice(0, rows * cols), rows, cols };
}

/** The matrix with every number changed. */
export function mapMatrix(x: Matrix, change: (value: number, index: number) => number): Matrix {
  return { ...x, data: x.data.map(change) };
}

/** Whether two runs of bytes are equal. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Whether two runs of numbers are equal, bit for bit but for the payload of NaN. */
export function sameNumbers(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, index) => Object.is(value, b[index]));
}

/** The code of the error that `action` throws, in words where it throws none or another kind. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return KvquantError.isInstance(error) ? error.code : `another error (${String(error)})`;
  }
  return "nothing";
}

/** Error of a decoded page relative to the variance around the mean of each column. */
export function relativeError(page: Matrix, decoded: Matrix): number {
  return meanSquare(page, decoded) / spread(page);
}

/** Mean squared difference. */
export function meanSquare(page: Matrix, decoded: Matrix): number {
  return page.data.reduce((sum, value, index) => sum + (value - decoded.data[index]!) ** 2, 0) / page.data.length;
}

/** Mean variance of the columns. */
export function spread(page: Matrix): number {
  const means = { ...page, data: page.data.slice() };
  for (let col = 0; col < page.cols; col++) {
    let mean = 0;
    for (let row = 0; row < page.rows; row++) mean += page.data[row * page.cols + col]! / page.rows;
    for (let row = 0; row < page.rows; row++) means.data[row * page.cols + col] = mean;
  }
  return meanSquare(page, means);
}
