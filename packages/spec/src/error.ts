/** The one error class of the project. */

/** What went wrong, in one word that programs can switch on. */
export type KvquantErrorCode =
  | "INVALID_ARGUMENT"
  | "UNSUPPORTED"
  | "OUT_OF_CAPACITY"
  | "CORRUPT_DATA"
  | "MODEL_MISMATCH"
  | "DISPOSED"
  | "NATIVE_UNAVAILABLE"
  | "UNAVAILABLE"
  | "CANCELLED"
  | "IO_ERROR";

const marker = Symbol.for("kvquant.error");

/** Every failure the packages report: a `code` for programs, and a message with expected, got and remedy for people. */
export class KvquantError extends Error {
  override readonly name = "KvquantError";
  readonly code: KvquantErrorCode;
  readonly [marker] = true;

  constructor(code: KvquantErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** True for errors of any copy of this package, unlike `instanceof`. */
  static isInstance(error: unknown): error is KvquantError {
    return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[marker] === true;
  }
}
