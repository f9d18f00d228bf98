/** API keys. */

import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError } from "../openai/api-error.js";

/** Checks the `Authorization` header of a request. @throws ApiError 401 */
export type Authorize = (header: string | undefined) => void;

/** A check of keys that takes the same time for every key, right or wrong: digests of equal length are compared, each with all. */
export function createAuthorize(keys: readonly string[]): Authorize {
  const digests = keys.map(digest);
  return (header) => {
    if (digests.length === 0) return;
    const [, given] = /^Bearer +(\S(?:.*\S)?) *$/i.exec(header ?? "") ?? [];
    const offered = digest(given ?? "");
    let matches = 0;
    for (const known of digests) matches += timingSafeEqual(known, offered) ? 1 : 0;
    if (given === undefined) throw new ApiError(401, "expected an API key as Authorization: Bearer <key>, got none", { code: "invalid_api_key" });
    if (matches === 0) throw new ApiError(401, "expected an API key of this server, got another", { code: "invalid_api_key" });
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
