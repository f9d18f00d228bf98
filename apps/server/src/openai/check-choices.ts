/** How many answers a request may ask for. */

import { ApiError } from "./api-error.js";
import type { SharedFields } from "./request-fields.js";

/** Answers to each of `prompts` prompts. @throws ApiError 400 for more than the server allows, or `stream_options` without a stream */
export function checkChoices(fields: SharedFields, prompts: number, limits: { readonly choices: number }): number {
  const count = fields.n ?? 1;
  if (count * prompts > limits.choices) throw new ApiError(400, `n: expected at most ${limits.choices} answers of a request, got ${count * prompts}`, { param: "n" });
  if (fields.stream_options !== undefined && fields.stream !== true) throw new ApiError(400, "stream_options: expected stream true beside it", { param: "stream_options" });
  return count;
}
