/** Errors as OpenAI's clients expect them. */

import { KvquantError } from "@kvquant/spec";

/** An error that is answered to the client as it is. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** Such as `model_not_found`; null where the interface has no word for it. */
  readonly code: string | null;
  /** The field that is wrong. */
  readonly param: string | null;

  constructor(status: number, message: string, options: { readonly code?: string; readonly param?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.code = options.code ?? null;
    this.param = options.param ?? null;
  }
}

/** The body of an error. */
export interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}

/** What is sent of an error. */
export function errorBody({ status, message, param, code }: ApiError): ErrorBody {
  return { error: { message, type: typeOf(status), param, code } };
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

/** The error a client sees of whatever was thrown; what it should not see (a defect's message) stays in the log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (KvquantError.isInstance(error)) {
    const status = { INVALID_ARGUMENT: 400, UNSUPPORTED: 400, OUT_OF_CAPACITY: 503, CANCELLED: 499, DISPOSED: 503 }[error.code as string];
    if (status !== undefined) return new ApiError(status, error.message, { code: error.code.toLowerCase(), cause: error });
  }
  return new ApiError(500, "the server failed on this request; its log says more under the request's id", { code: "internal_error", cause: error });
}
