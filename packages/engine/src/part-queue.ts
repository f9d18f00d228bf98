/** Parts on their way from the engine to one reader. */

import { KvquantError } from "@kvquant/spec";

/** A queue with one reader; `onReturn` is called when the reader leaves before the end. */
export interface PartQueue<Part> extends AsyncIterable<Part> {
  push(part: Part): void;
  /** Ends the queue after what was pushed. */
  end(): void;
  /** Throws the error at the reader after what was pushed. */
  fail(error: unknown): void;
}

/** Makes an empty queue. */
export function createPartQueue<Part>(onReturn: () => void): PartQueue<Part> {
  const parts: Part[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let read = false;
  const notify = (): void => {
    wake?.();
    wake = undefined;
  };
  const next = async (): Promise<IteratorResult<Part, undefined>> => {
    for (;;) {
      if (parts.length > 0) return { value: parts.shift()!, done: false };
      if (failure !== undefined) {
        const { error } = failure;
        failure = undefined;
        ended = true;
        throw error;
      }
      if (ended) return { value: undefined, done: true };
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return {
    push(part) {
      parts.push(part);
      notify();
    },
    end() {
      ended = true;
      notify();
    },
    fail(error) {
      if (ended) return;
      failure ??= { error };
      notify();
    },
    [Symbol.asyncIterator]() {
      if (read) throw new KvquantError("INVALID_ARGUMENT", "generation: expected one reader, got a second");
      read = true;
      return {
        next,
        return() {
          if (!ended) onReturn();
          parts.length = 0;
          ended = true;
          notify();
          return Promise.resolve({ value: undefined, done: true as const });
        },
      };
    },
  };
}
