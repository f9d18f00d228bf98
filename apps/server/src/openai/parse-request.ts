/** Checks the body of a request by a schema. */

import type { z } from "zod";
import { firstProblem, showPath } from "../zod-problem.js";
import { ApiError } from "./api-error.js";

/** The body as the schema has it; null at its top counts as absent, as OpenAI has it. @throws ApiError 400 that names the field, what was expected and what came */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const given = isFields(body) ? Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)) : body;
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const { path, text } = firstProblem(result.error, body);
  const field = showPath(path);
  throw new ApiError(400, field === "" ? `body: ${text}` : `${field}: ${text}`, field === "" ? {} : { param: field });
}

function isFields(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
