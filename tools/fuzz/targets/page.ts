/** A page at rest, and its blocks through the codecs that read them. */

import { decodePageAtRest, encodePageAtRest } from "@kvquant/cache";
import { crc32, openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import type { CacheShape, EncodedBlock } from "@kvquant/spec";
import { obey } from "../law.js";

const shape: CacheShape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 32 };
const cols = shape.kvHeads * shape.headDim;
const rope = { headDim: 32, rotaryDim: 32, base: 10000, scaling: { type: "none" } } as const;
const codecs = ["kvq4", "kvq3", "kvq2", "nuq3-1%", "nuq2-1%", "kivi2", "q4_0"].map((preset) => openArtifact(randomArtifact(preset, shape, rope))[0]!);

export const maximumLength = 8192;

export function seeds(): Uint8Array[] {
  return codecs.flatMap(({ key, value }, which) =>
    [3, 64].map((tokens) => {
      const x = { data: Float32Array.from({ length: tokens * cols }, (_, index) => Math.sin(index * index)), rows: tokens, cols };
      return Uint8Array.of(which, ...encodePageAtRest({ tokens, key: key.encode(x), value: value.encode(x) }));
    }),
  );
}

/** The first byte says which codecs read the page. */
export function fuzz(data: Uint8Array): void {
  if (data.length === 0) return;
  const bytes = data.slice(1);
  obey(bytes.length, () => void decodePageAtRest(bytes));
  if (bytes.length >= 12) new DataView(bytes.buffer).setUint32(8, crc32(bytes, 12), true);
  obey(bytes.length, () => {
    const page = decodePageAtRest(bytes);
    const { key, value } = codecs[data[0]! % codecs.length]!;
    const read = (codec: typeof key, block: EncodedBlock): void => codec.decode(block, { data: new Float32Array(block.tokens * cols), rows: block.tokens, cols });
    obey(bytes.length, () => read(key, page.key));
    obey(bytes.length, () => read(value, page.value));
  });
}
