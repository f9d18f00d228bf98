/** The tensor types that can be read, by their number in GGUF files. */

import { GGMLQuantizationType } from "@huggingface/gguf";
import { KvquantError } from "@kvquant/spec";
import type { BlockType } from "./block-type.js";
import { bf16, f16, f32 } from "./blocks/floats.js";
import { q4_k, q5_k, q6_k } from "./blocks/k-quants.js";
import { q4_0, q4_1, q5_0, q5_1, q8_0 } from "./blocks/legacy.js";

/** All supported types. */
export const BLOCK_TYPES: readonly BlockType[] = [f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k];

const byId = new Map(BLOCK_TYPES.map((type) => [type.id, type]));

/**
 * The type with a GGUF number; `where` names file and tensor in the message.
 * @throws UNSUPPORTED naming the type and those that can be read
 */
export function blockTypeOf(id: number, where: string): BlockType {
  const type = byId.get(id);
  if (type) return type;
  const name = GGMLQuantizationType[id] ?? `number ${id}`;
  const supported = BLOCK_TYPES.map((known) => known.name).join(", ");
  throw new KvquantError("UNSUPPORTED", `${where}: tensor type ${name} cannot be read, expected one of ${supported}; choose another quantization of the model`);
}
