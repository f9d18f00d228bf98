// Computed in Node and in chromium.
import { KvquantError, PAGE_TOKENS, bitsPerValue, checkCacheShape } from "@kvquant/spec";

export default function compute() {
  const codes = [{ layers: 0, queryHeads: 4, kvHeads: 2, headDim: 64 }, { layers: 1, queryHeads: 3, kvHeads: 2, headDim: 64 }].map((shape) => {
    try {
      checkCacheShape(shape);
      return "accepted";
    } catch (error) {
      return KvquantError.isInstance(error) ? `${error.code} ${error.message}` : "another error";
    }
  });
  return { codes, bits: bitsPerValue({ tokens: PAGE_TOKENS, bytes: new Uint8Array(1800), saturated: 0, clamped: 0 }, 64) };
}
