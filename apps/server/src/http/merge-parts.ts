/** Reads several generations at once. */

/** A value and which source it is from. */
export interface Merged<Part> {
  readonly index: number;
  readonly part: Part;
}

/** Values of all sources as they come. When one fails, or the reader leaves, all are left. */
export async function* mergeParts<Part>(sources: readonly AsyncIterable<Part>[]): AsyncGenerator<Merged<Part>, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const advance = (index: number): Promise<{ readonly index: number; readonly step: IteratorResult<Part> }> => {
    const pending = iterators[index]!.next().then((step) => ({ index, step }));
    // The failure is seen by the race below; of several only the first is.
    pending.catch(() => undefined);
    return pending;
  };
  const pending = new Map(iterators.map((_, index) => [index, advance(index)]));
  try {
    while (pending.size > 0) {
      const { index, step } = await Promise.race(pending.values());
      if (step.done === true) {
        pending.delete(index);
        continue;
      }
      pending.set(index, advance(index));
      yield { index, part: step.value };
    }
  } finally {
    // Not awaited: a generation that is being computed answers only when its step is done.
    for (const index of pending.keys()) iterators[index]!.return?.().catch(() => undefined);
  }
}
