/** Whether a model may run at a context length. */

import { KvquantError } from "@kvquant/spec";
import type { ModelConfig } from "./config/model-config.js";

/** RoPE rules whose frequencies follow the sequence length, so that any context has defined angles. */
const LENGTH_AWARE = new Set(["dynamic", "longrope"]);

/**
 * Returns a warning when the context is longer than the model was trained for but its RoPE rule permits it.
 * @throws INVALID_ARGUMENT when the rule does not permit it
 */
export function checkContext(config: ModelConfig, length: number): string | undefined {
  if (length <= config.contextLength) return undefined;
  const { type } = config.rope.scaling;
  if (LENGTH_AWARE.has(type)) {
    return `context of ${length} tokens is longer than the model's ${config.contextLength}; its RoPE rule "${type}" adapts, quality is not known`;
  }
  throw new KvquantError(
    "INVALID_ARGUMENT",
    `context: expected at most ${config.contextLength} tokens (RoPE rule "${type}"), got ${length}; shorten the prompt or use a model with a longer context`,
  );
}
