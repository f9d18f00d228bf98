/** What a command works with: results out, progress, and the signal that ends it. */

import type { Io } from "./io.js";
import type { CommonOptions } from "./options.js";
import { createProgress } from "./progress.js";
import type { Progress } from "./progress.js";

/** The surroundings of one command. */
export interface Context {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** True when results are one JSON document. */
  readonly json: boolean;
  /** Writes text for people to standard output; nothing with `--json`. */
  print(text: string): void;
  /** Writes the JSON document to standard output, undefined as null; nothing without `--json`. */
  printJson(document: unknown): void;
}

export function createContext(io: Io, options: CommonOptions): Context {
  const json = options.json === true;
  return {
    progress: createProgress(io.stderr, { quiet: options.quiet }),
    signal: io.signal,
    json,
    print(text) {
      if (!json) io.stdout.write(text);
    },
    printJson(document) {
      if (json) io.stdout.write(`${JSON.stringify(document, (_key, value: unknown) => value ?? null, 2)}\n`);
    },
  };
}
