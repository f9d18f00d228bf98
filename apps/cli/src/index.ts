/** The command line program as a function, for tests and for programs that embed it. */

export type { Io, Sink } from "./io.js";
export { run } from "./run.js";
