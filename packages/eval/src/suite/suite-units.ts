/** Runs units: from the store where they were finished before, else now; counts progress. */

import { throwIfCancelled } from "../throw-if-cancelled.js";
import type { SuiteOptions, SuitePart, SuiteProgress } from "./suite-options.js";
import type { UnitKey, UnitStore } from "./unit-store.js";

/** One unit of work. */
export interface Unit<Value> {
  readonly key: UnitKey;
  readonly part: SuitePart;
  /** For progress. */
  readonly text: string;
  /** Tokens it sends through the model. */
  readonly tokens: number;
  readonly compute: (onStep: () => void) => Promise<Value>;
}

/** Runs units one after another and knows how far the suite is. */
export interface UnitRunner {
  readonly kept: number;
  readonly computed: number;
  /** Tells how many tokens are to come in all. */
  plan(tokens: number): void;
  /** The value of a stored unit, which then counts as done; undefined where it is to be computed. */
  recall<Value>(unit: Pick<Unit<Value>, "key" | "part" | "text" | "tokens">): Promise<Value | undefined>;
  /** Reports work under way. */
  step(part: SuitePart, text: string): void;
  /** Stores a computed value and counts it as done; returns it as a second run will read it. */
  finish<Value>(unit: Pick<Unit<Value>, "key" | "part" | "text" | "tokens">, value: Value): Promise<Value>;
  /** `recall`, else compute and `finish`. @throws CANCELLED */
  run<Value>(unit: Unit<Value>): Promise<Value>;
}

/** A runner over a store. */
export function createUnitRunner(store: UnitStore, { onProgress, signal }: Pick<SuiteOptions, "onProgress" | "signal">): UnitRunner {
  let total = 0;
  let done = 0;
  let kept = 0;
  let computed = 0;
  const report = (part: SuiteProgress["part"], text: string): void => onProgress?.({ part, text, done, total });
  const runner: UnitRunner = {
    get kept() {
      return kept;
    },
    get computed() {
      return computed;
    },
    plan(tokens) {
      total = tokens;
    },
    async recall<Value>({ key, part, text, tokens }: Pick<Unit<Value>, "key" | "part" | "text" | "tokens">) {
      throwIfCancelled(signal, "suite");
      const stored = await store.read(key);
      if (stored === undefined) return undefined;
      kept++;
      done += tokens;
      report(part, text);
      return stored as Value;
    },
    step: report,
    async finish({ key, part, text, tokens }, value) {
      // As JSON gives it back, so that a resumed run computes with the same values.
      const plain = JSON.parse(JSON.stringify(value)) as typeof value;
      await store.write(key, plain);
      computed++;
      done += tokens;
      report(part, text);
      return plain;
    },
    async run<Value>(unit: Unit<Value>) {
      const stored = await runner.recall<Value>(unit);
      return stored === undefined ? runner.finish(unit, await unit.compute(() => report(unit.part, unit.text))) : stored;
    },
  };
  return runner;
}
