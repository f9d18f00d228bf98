/** Finds each tensor a model must have among those of a file, and refuses what the forward pass would ignore. */

import { KvquantError } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import { tensorShapes } from "../config/tensor-name.js";
import type { TensorName } from "../config/tensor-name.js";
import type { StoredTensor } from "./stored-tensor.js";

/** A format's names and orders. */
export interface TensorMatching {
  /** The file, for messages. */
  readonly where: string;
  readonly stored: ReadonlyMap<string, StoredTensor>;
  /** The file's name of a tensor. */
  nameOf(name: TensorName): string;
  /** Row order of a tensor, see `StoredTensor.order`. */
  orderOf(name: TensorName): Int32Array | undefined;
  /** True for tensors that may be there without being weights of the forward pass. */
  ignores(name: string): boolean;
}

/**
 * Tensors by their canonical names, with shapes as the configuration demands.
 * @throws CORRUPT_DATA for a missing tensor or a wrong shape
 * @throws UNSUPPORTED for a tensor the forward pass has no place for
 */
export function matchTensors(config: ModelConfig, matching: TensorMatching): Map<TensorName, StoredTensor> {
  const matched = new Map<TensorName, StoredTensor>();
  const used = new Set<string>();
  for (const [name, shape] of tensorShapes(config)) {
    const own = matching.nameOf(name);
    const tensor = matching.stored.get(own);
    if (!tensor) throw new KvquantError("CORRUPT_DATA", `${matching.where}: expected a tensor ${own}, got none; the file is damaged or not a whole ${config.architecture} model`);
    if (tensor.rows !== shape.rows || tensor.cols !== shape.cols) {
      throw new KvquantError("CORRUPT_DATA", `${matching.where}: expected tensor ${own} of shape [${shape.rows}, ${shape.cols}], got [${tensor.rows}, ${tensor.cols}]`);
    }
    used.add(own);
    const order = matching.orderOf(name);
    matched.set(name, order ? { ...tensor, order } : tensor);
  }
  for (const own of matching.stored.keys()) {
    if (used.has(own) || matching.ignores(own)) continue;
    throw new KvquantError("UNSUPPORTED", `${matching.where}: expected no tensor ${own} in a ${config.architecture} model; the forward pass has no place for it, so results would be wrong`);
  }
  return matched;
}
