/** Where the program reads and writes, so that tests run it without a process. */

/** The part of a writable stream the program uses. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Results go to `stdout`, progress and errors to `stderr`; `signal` is aborted by Ctrl-C. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly signal: AbortSignal;
}
