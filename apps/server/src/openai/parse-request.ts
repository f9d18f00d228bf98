/** Checks the body of a request by a schema. */

import type { z } from "zod";
import { firstProblem, showPath } from "../zod-problem.js";
import { ApiError } from "./api-error.js";

/** The body as the schema has it. @throws ApiError 400 that names the field, what was expected and what came */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const { path, text } = firstProblem(result.error, body);
  const field = showPath(path);
  throw new ApiError(400, field === "" ? `body: ${text}` : `${field}: ${text}`, field === "" ? {} : { param: field });
}
