/** What other packages use of the files' own tools; an entry point of its own, so that no engine loads with it. */

export { ioError } from "./io-error.js";
export { takeLockFile } from "./lock-file.js";
