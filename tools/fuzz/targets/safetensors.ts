/** A safetensors file: header, and every tensor it promises. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openByteSource } from "../../../packages/model/src/files/byte-source.js";
import { readTensor } from "../../../packages/model/src/files/stored-tensor.js";
import { readSafetensors } from "../../../packages/model/src/safetensors/read-safetensors.js";
import { writeSafetensors } from "../../../packages/model/src/safetensors/fixtures/write-safetensors.js";
import { obey, scratchFolder } from "../law.js";

const path = join(scratchFolder, "model.safetensors");

export function seeds(): Uint8Array[] {
  const norm = { dtype: "F32", shape: [4], data: Float32Array.of(1, 2, 3, 4) };
  const halves = { dtype: "BF16", shape: [2, 3], data: new Uint8Array(12) };
  return [writeSafetensors({ norm }), writeSafetensors({ norm, "model.layers.0.q": { ...halves, dtype: "F16" }, halves })];
}

export function fuzz(data: Uint8Array): void {
  writeFileSync(path, data);
  const source = openByteSource(path);
  try {
    obey(data.length, () => {
      for (const tensor of readSafetensors(source).values()) readTensor(tensor);
    });
  } finally {
    source.close();
  }
}
