/** Names a model by its contents, quickly for any size. */

import { createHash } from "node:crypto";
import type { ModelConfig } from "../config/model-config.js";
import type { TensorName } from "../config/tensor-name.js";
import { rowBytes } from "./stored-tensor.js";
import type { StoredTensor } from "./stored-tensor.js";

const SAMPLE_BYTES = 1024;

/**
 * Hex SHA-256 of the configuration (without its name) and each tensor's name, type, shape and its first and last KiB, tensors in the order of their names.
 * Other weights or another quantization give another fingerprint; a moved or renamed file, or other shards of the same tensors, do not.
 */
export function modelFingerprint(config: ModelConfig, tensors: ReadonlyMap<TensorName, StoredTensor>): string {
  const hash = createHash("sha256");
  const { name: _name, ...rest } = config;
  hash.update(canonicalJson(rest));
  const names = [...tensors.keys()].sort();
  for (const name of names) {
    const tensor = tensors.get(name)!;
    const length = rowBytes(tensor) * tensor.rows;
    const sample = new Uint8Array(Math.min(SAMPLE_BYTES, length));
    hash.update(canonicalJson([name, tensor.type.name, tensor.rows, tensor.cols]));
    hash.update(tensor.source.read(tensor.offset, sample));
    hash.update(tensor.source.read(tensor.offset + length - sample.length, sample));
  }
  return hash.digest("hex");
}

/** JSON with the keys of every object in order, so that equal values give equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
