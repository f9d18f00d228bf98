/** What a forward pass needs to know of a model, the same for every file format. */

import { KvquantError } from "@kvquant/spec";
import { checkRopeConfig } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";

/** Architectures with a forward pass; mistral files are of architecture llama. */
export type Architecture = "llama" | "qwen2" | "qwen3";

/** The names of all supported architectures, for messages. */
export const ARCHITECTURES: readonly Architecture[] = ["llama", "qwen2", "qwen3"];

/** Sizes and switches of a decoder-only transformer with RMS norms, grouped-query attention and a SiLU-gated feed-forward. */
export interface ModelConfig {
  readonly architecture: Architecture;
  /** For people only; not part of the fingerprint. */
  readonly name: string;
  readonly layers: number;
  /** Length of a hidden state. */
  readonly width: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Rows of the gate and up projections. */
  readonly feedForward: number;
  /** Rows of the embedding and of the head. */
  readonly vocabulary: number;
  /** Longest sequence the model was made for, in tokens (a shorter sliding window counts). */
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly rope: RopeConfig;
  /** The head is the embedding. */
  readonly tiedEmbeddings: boolean;
  /** q, k and v have biases. */
  readonly attentionBias: boolean;
  /** q and k are RMS-normalised in each head before RoPE. */
  readonly queryKeyNorm: boolean;
}

const LIMITS = { layers: 4096, width: 1 << 20, queryHeads: 1 << 14, kvHeads: 1 << 14, headDim: 1 << 14, feedForward: 1 << 24, vocabulary: 1 << 24, contextLength: 2 ** 40 } as const;

/**
 * Throws unless every size is believable and the sizes fit together; `where` names the file in messages.
 * @throws CORRUPT_DATA
 * @throws UNSUPPORTED for a head dim that is no multiple of 8
 */
export function checkModelConfig(config: ModelConfig, where: string): void {
  for (const [key, maximum] of Object.entries(LIMITS) as [keyof typeof LIMITS, number][]) {
    const value = config[key];
    if (!Number.isSafeInteger(value) || value < 1 || value > maximum) throw corrupt(where, `${key} from 1 to ${maximum}`, value);
  }
  if (config.queryHeads % config.kvHeads !== 0) throw corrupt(where, `query heads in whole groups of the ${config.kvHeads} KV heads`, config.queryHeads);
  if (!(config.normEpsilon >= 0 && config.normEpsilon < 1)) throw corrupt(where, "norm epsilon in [0, 1)", config.normEpsilon);
  if (config.headDim % 8 !== 0) throw new KvquantError("UNSUPPORTED", `${where}: expected a head dim that is a multiple of 8, got ${config.headDim}; no cache format exists for it`);
  try {
    checkRopeConfig(config.rope);
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `${where}: the rotary embedding makes no sense: ${(cause as Error).message}`, { cause });
  }
}

function corrupt(where: string, expected: string, got: unknown): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${where}: expected ${expected}, got ${String(got)}; the file is damaged, fetch it again`);
}
