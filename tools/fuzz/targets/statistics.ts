/** Calibration statistics as they are kept on disk: the input is their description, which is most of what there is to parse; the arrays it promises are zeros. */

import { decodeStatistics, encodeStatistics } from "@kvquant/quant";
import { makeStatistics } from "@kvquant/quant/testing";
import { obey } from "../law.js";
import { withChecksum } from "./kvq.js";

const PREFIX = 20;
const LARGEST = 4 * 2 ** 20;
const BYTES: Readonly<Record<string, number>> = { f16: 2, f32: 4, f64: 8, u16: 2, u32: 4 };

const whole = (): Uint8Array => encodeStatistics(makeStatistics({ shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 }, rotaryDim: 8, tokens: 65, windows: 1 }));

export function seeds(): Uint8Array[] {
  const bytes = whole();
  return [bytes.slice(PREFIX, PREFIX + Number(new DataView(bytes.buffer).getBigUint64(12, true)))];
}

/** Layout in packages/quant/src/artifact/container.ts. */
export function fuzz(data: Uint8Array): void {
  const align = (offset: number): number => Math.ceil(offset / 8) * 8;
  let size = align(PREFIX + data.length);
  for (const length of promisedBytes(data)) size = align(size + length);
  if (!(size <= LARGEST)) size = align(PREFIX + data.length);
  const file = new Uint8Array(size);
  file.set(new TextEncoder().encode("KVQS"));
  const view = new DataView(file.buffer);
  view.setUint32(4, 1, true);
  view.setBigUint64(12, BigInt(data.length), true);
  file.set(data, PREFIX);
  obey(size, () => void decodeStatistics(withChecksum(file)));
}

function promisedBytes(data: Uint8Array): number[] {
  try {
    const { arrays } = JSON.parse(new TextDecoder().decode(data)) as { arrays: [string, number][] };
    return arrays.map(([type, length]) => (BYTES[type] ?? 0) * length).filter((bytes) => bytes >= 0);
  } catch {
    return []; // No description: the parser has to say so.
  }
}
