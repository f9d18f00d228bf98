/** The error of a command line that cannot be right whatever the files and models hold: exit code 2. */

/** Bad usage; the message says what was expected, what was given and what to do. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
