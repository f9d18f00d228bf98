/** The answer of `/v1/chat/completions`. */

import { randomUUID } from "node:crypto";
import type { TokenPart } from "@kvquant/engine";
import type { TokenLogProbability, Tokenizer } from "@kvquant/model";
import { createToolCallParser } from "../chat/tool-call-parser.js";
import type { ParsedPiece } from "../chat/tool-call-parser.js";
import { finishReason } from "./answer-format.js";
import type { AnswerFormat, ChoiceWriter } from "./answer-format.js";
import { tokenBytes, tokenDisplay } from "./token-display.js";

/** What an answer depends on. */
export interface ChatAnswerOptions {
  readonly id: string;
  readonly model: string;
  readonly created: number;
  readonly tokenizer: Tokenizer;
  /** Calls are cut out of the text. */
  readonly parseCalls: boolean;
  /** False: an answer keeps its first call only. */
  readonly parallelCalls: boolean;
  readonly logprobs: boolean;
}

/** Writes chat completions. */
export function chatAnswer(options: ChatAnswerOptions): AnswerFormat {
  const head = (object: string): object => ({ id: options.id, object, created: options.created, model: options.model, system_fingerprint: null });
  return {
    choice: (index) => chatChoice(index, options),
    body: (choices, usage) => ({ ...head("chat.completion"), choices, usage }),
    chunk: (choices, usage) => ({ ...head("chat.completion.chunk"), choices, ...(usage !== undefined && { usage }) }),
  };
}

interface WireCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

function chatChoice(index: number, { tokenizer, parseCalls, parallelCalls, logprobs }: ChatAnswerOptions): ChoiceWriter {
  const parser = parseCalls ? createToolCallParser() : undefined;
  const calls: WireCall[] = [];
  const scores: object[] = [];
  let content = "";
  let reason: string | null = null;
  const delta = (fields: object, more: { readonly logprobs?: readonly object[]; readonly reason?: string } = {}): object => ({
    index,
    delta: fields,
    logprobs: more.logprobs === undefined || more.logprobs.length === 0 ? null : { content: more.logprobs, refusal: null },
    finish_reason: more.reason ?? null,
  });
  const take = (piece: ParsedPiece, score: readonly object[]): object[] => {
    const chunks: object[] = [];
    // White space around calls is the template's, not an answer.
    const text = calls.length + piece.calls.length > 0 && piece.text.trim() === "" ? "" : piece.text;
    content += text;
    if (text !== "" || score.length > 0) chunks.push(delta({ content: text }, { logprobs: score }));
    for (const call of piece.calls) {
      if (!parallelCalls && calls.length > 0) break;
      const made: WireCall = { id: `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`, type: "function", function: call };
      chunks.push(delta({ tool_calls: [{ index: calls.length, ...made }] }));
      calls.push(made);
    }
    return chunks;
  };
  return {
    start: () => [delta({ role: "assistant", content: "" })],
    token(part) {
      const score = logprobs ? tokenScore(tokenizer, part) : [];
      scores.push(...score);
      return take(parser?.push(part.text) ?? { text: part.text, calls: [] }, score);
    },
    finish(part) {
      const pieces = parser === undefined ? [{ text: part.text, calls: [] }] : [parser.push(part.text), parser.end()];
      const chunks = pieces.flatMap((piece) => take(piece, []));
      reason = calls.length > 0 ? "tool_calls" : finishReason(part.reason);
      return [...chunks, delta({}, { reason })];
    },
    whole: () => ({
      index,
      message: { role: "assistant", content: content === "" && calls.length > 0 ? null : content, refusal: null, ...(calls.length > 0 && { tool_calls: calls }) },
      logprobs: logprobs ? { content: scores, refusal: null } : null,
      finish_reason: reason,
    }),
  };
}

function tokenScore(tokenizer: Tokenizer, { token, logprob, top = [] }: TokenPart): object[] {
  if (logprob === undefined) return [];
  const show = (entry: TokenLogProbability): object => {
    const text = tokenDisplay(tokenizer, entry.token);
    return { token: text, logprob: entry.logprob, bytes: tokenBytes(text) };
  };
  return [{ ...show({ token, logprob }), top_logprobs: top.map(show) }];
}
