/** Why a file could not be read, in a word. */

/** The system's code, such as `ENOENT`, or the error's message. */
export function describeReadError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error ? String(error.code) : error.message;
}
