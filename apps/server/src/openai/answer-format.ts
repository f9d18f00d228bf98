/** The seam between what the engine gives and what an endpoint writes. */

import type { GenerationPart, TokenPart } from "@kvquant/engine";
import type { WireUsage } from "./usage.js";

/** The last part of a generation. */
export type FinishPart = Extract<GenerationPart, { type: "finish" }>;

/** One choice of an answer on its way. */
export interface ChoiceWriter {
  /** Chunks to send before the first token. */
  start(): readonly object[];
  token(part: TokenPart): readonly object[];
  finish(part: FinishPart): readonly object[];
  /** The choice as a whole, once it is finished. */
  whole(): object;
}

/** How an endpoint writes its answer. */
export interface AnswerFormat {
  choice(index: number): ChoiceWriter;
  /** The body of an answer that is not streamed. */
  body(choices: readonly object[], usage: WireUsage): object;
  /** One event of a stream. `usage` undefined: the field is left out. */
  chunk(choices: readonly object[], usage: WireUsage | null | undefined): object;
}

/** OpenAI's word for why an answer ended. */
export function finishReason(reason: FinishPart["reason"]): "stop" | "length" {
  return reason === "length" ? "length" : "stop";
}
