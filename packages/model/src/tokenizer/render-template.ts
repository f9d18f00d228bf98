/** Renders a Jinja template that nobody has vouched for: a time limit, a limit on what it writes, and ranges of believable length. */

import { Template } from "@huggingface/jinja";
import { Script, createContext } from "node:vm";
import { KvquantError } from "@kvquant/spec";

/** A conversation of 10,000 messages takes tens of milliseconds. */
const MAXIMUM_MILLISECONDS = 1000;
const LONGEST_RANGE = 100_000;
/** Characters a template may write whatever it is given, such as instructions for tools. */
const FREE_CHARACTERS = 65_536;
/** Characters it may write for each that it and its values have. */
const CHARACTERS_EACH = 8;

/** Only the clock of `vm` is used: it stops whatever runs, the interpreter included, which has no access to the process anyway. */
const clock = createContext({ work: undefined }) as { work: (() => string) | undefined };
const script = new Script("work()");

/**
 * The text of a template; templates come with a model's file, so that a malicious one must not stop the process.
 * @throws UNSUPPORTED for a template that runs too long or writes too much; errors of the template pass unchanged
 */
export function renderTemplate(source: string, values: Readonly<Record<string, unknown>>): string {
  const text = withinTime(() => {
    const template = new Template(source);
    // The library's own `range` makes a list of any length before the first turn of a loop.
    template.parsed.body.unshift(...new Template("{% set range = bounded_range %}").parsed.body);
    return template.render({ ...values, bounded_range: boundedRange });
  });
  const longest = FREE_CHARACTERS + CHARACTERS_EACH * (source.length + JSON.stringify(values).length);
  if (text.length > longest) throw new KvquantError("UNSUPPORTED", `template: expected at most ${longest} characters for these values, got ${text.length}; the template repeats itself`);
  return text;
}

function withinTime(work: () => string): string {
  clock.work = work;
  try {
    return script.runInContext(clock, { timeout: MAXIMUM_MILLISECONDS }) as string;
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
    throw new KvquantError("UNSUPPORTED", `template: expected an end within ${MAXIMUM_MILLISECONDS} ms, got none; the template loops`);
  } finally {
    clock.work = undefined;
  }
}

/** Python's `range`. */
function boundedRange(first: unknown, second?: unknown, third?: unknown): number[] {
  const [start, stop, step] = (typeof second === "number" ? [first, second, typeof third === "number" ? third : 1] : [0, first, 1]) as [number, number, number];
  if (![start, stop, step].every(Number.isFinite) || step === 0) throw new Error("range: expected numbers, and a step that is not 0");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > LONGEST_RANGE) throw new Error(`range: expected at most ${LONGEST_RANGE} numbers, got ${length}`);
  return Array.from({ length }, (_, index) => start + index * step);
}
