/** Reads a request's body as JSON, and not a byte more than allowed. */

import { ApiError } from "../openai/api-error.js";
import { isDeeper, mostLevels } from "./json-depth.js";

/**
 * The value of a JSON body.
 * @throws ApiError 415 for another content type, 413 for a body over the limit (before it is read, where its length is announced), 400 for bytes that
 * are not UTF-8, no JSON, or JSON nested beyond all use
 */
export async function readJson(request: Request, limit: number): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // A page of another origin can send any other type without asking first.
  if (!/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(type)) throw new ApiError(415, `content-type: expected application/json, got ${type === "" ? "none" : JSON.stringify(type.slice(0, 60))}`);
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > limit) throw tooLarge(limit);
  const bytes = await readBytes(request, limit);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError(400, "body: expected UTF-8, got bytes that are none", { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApiError(400, `body: expected JSON, got an error: ${(cause as Error).message.slice(0, 200)}`, { cause });
  }
  if (isDeeper(value)) throw new ApiError(400, `body: expected JSON of at most ${mostLevels} levels, got more`);
  return value;
}

async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array(0);
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    let step;
    try {
      step = await reader.read();
    } catch (cause) {
      throw new ApiError(499, "the client went away while it sent its request", { code: "client_closed_request", cause });
    }
    if (step.done) break;
    length += step.value.length;
    if (length > limit) {
      // Nothing waits for the rest; the connection is closed after the answer.
      reader.cancel().catch(() => undefined);
      throw tooLarge(limit);
    }
    chunks.push(step.value);
  }
  return Buffer.concat(chunks, length);
}

function tooLarge(limit: number): ApiError {
  return new ApiError(413, `body: expected at most ${limit} bytes, got more`, { code: "body_too_large" });
}
