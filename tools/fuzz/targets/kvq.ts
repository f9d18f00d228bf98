/** A `.kvq` artifact: the file, the codecs its arrays describe, and a page through them. */

import { crc32, decodeArtifact, encodeArtifact, openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import type { BlockCodec, CacheShape } from "@kvquant/spec";
import { obey } from "../law.js";

const shape: CacheShape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 };

export const maximumLength = 16_384;

export function seeds(): Uint8Array[] {
  const rope = { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "none" } } as const;
  return ["nuq3-1%", "nuq2-1%+fb", "kvq3", "kvq2"].map((preset) => encodeArtifact(randomArtifact(preset, shape, rope)));
}

/** As it came, and with its checksum made right, without which nothing behind it would be read. */
export function fuzz(data: Uint8Array): void {
  obey(data.length, () => void decodeArtifact(data));
  obey(data.length, () => {
    const artifact = decodeArtifact(withChecksum(data));
    const codecs = openArtifact(artifact);
    const cols = artifact.shape.kvHeads * artifact.shape.headDim;
    if (cols > 1024) return;
    for (const { key, value } of codecs.slice(0, 1)) for (const codec of [key, value]) roundTrip(codec, cols);
  });
}

function roundTrip(codec: BlockCodec, cols: number): void {
  const x = { data: Float32Array.from({ length: 3 * cols }, (_, index) => Math.sin(index)), rows: 3, cols };
  codec.decode(codec.encode(x), { ...x, data: new Float32Array(3 * cols) });
}

/** Layout in packages/quant/src/artifact/container.ts. */
export function withChecksum(data: Uint8Array): Uint8Array {
  if (data.length < 20) return data;
  const copy = data.slice();
  const head = new Uint8Array(12);
  head.set(copy.subarray(0, 8));
  new DataView(head.buffer).setUint32(8, crc32(copy, 12), true);
  new DataView(copy.buffer).setUint32(8, crc32(head), true);
  return copy;
}
