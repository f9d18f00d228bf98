/** What every route works with. */

import type { Configuration } from "../configuration/schema.js";
import type { History } from "../metrics/history.js";
import type { ServerMetrics } from "../metrics/server-metrics.js";
import type { ServedModel } from "../models/served-model.js";
import { ApiError } from "../openai/api-error.js";
import type { Logger } from "./logger.js";
import type { RequestRecord } from "./request-record.js";

/** The server as its routes see it. */
export interface ServerContext {
  readonly configuration: Pick<Configuration, "apiKeys" | "origins" | "limits">;
  readonly models: readonly ServedModel[];
  readonly logger: Logger;
  readonly metrics: ServerMetrics;
  readonly history: History;
  /** Aborted when requests still running have to end. */
  readonly shutdown: AbortSignal;
  /** True from the first signal on: what runs is finished, new requests get 503. */
  readonly isDraining: () => boolean;
}

/** Types of hono's context. */
export interface AppEnvironment {
  Variables: { record: RequestRecord };
}

/** The model of a request. @throws ApiError 404 `model_not_found` */
export function findModel({ models }: ServerContext, name: string, record?: RequestRecord): ServedModel {
  const found = models.find((model) => model.name === name);
  if (found === undefined) throw new ApiError(404, `model: expected one of ${models.map((model) => model.name).join(", ")}, got ${JSON.stringify(name.slice(0, 100))}`, { code: "model_not_found", param: "model" });
  if (record !== undefined) record.model = found.name;
  return found;
}

/** Longest text of a token in characters, by model: no text has fewer tokens than its length divided by this. */
const longestTokens = new WeakMap<object, number>();

/**
 * Refuses text that cannot fit the context before time is spent on encoding it.
 * @throws ApiError 400 `context_length_exceeded`
 */
export function checkTextLength({ tokenizer, contextLimit, name }: ServedModel, length: number, param: string): void {
  let longest = longestTokens.get(tokenizer);
  if (longest === undefined) {
    longest = 1;
    for (let id = 0; id < tokenizer.vocabulary; id++) longest = Math.max(longest, tokenizer.tokenText(id)?.length ?? 0);
    longestTokens.set(tokenizer, longest);
  }
  const least = Math.ceil(length / longest);
  if (least > contextLimit) throw new ApiError(400, `model ${name}: expected at most ${contextLimit} tokens of prompt and answer, got a text of ${length} characters, at least ${least} tokens; shorten it`, { code: "context_length_exceeded", param });
}
