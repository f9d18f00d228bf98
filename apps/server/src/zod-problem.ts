/** What a schema found wrong, in the words of this project: where, expected, got. */

import type { z } from "zod";

/** One problem of a value. */
export interface Problem {
  /** Such as `messages.0.content`; empty for the value itself. */
  readonly path: readonly PropertyKey[];
  /** Such as `expected an integer, got "abc"`. */
  readonly text: string;
}

/** The first problem, which is what people mend first. @param value what was checked @param isSecret tells fields whose value is not shown */
export function firstProblem(error: z.ZodError, value: unknown, isSecret: (path: readonly PropertyKey[]) => boolean = () => false): Problem {
  const issue = error.issues[0]!;
  if (issue.code === "unrecognized_keys") return { path: [...issue.path, issue.keys[0]!], text: "expected a field that is known, got one that is not" };
  const got = valueAt(value, issue.path);
  return { path: issue.path, text: `${expectation(issue)}, got ${isSecret(issue.path) ? "something else" : showValue(got)}` };
}

/** `a.0.b` of a path. */
export function showPath(path: readonly PropertyKey[]): string {
  return path.map(String).join(".");
}

function expectation(issue: z.core.$ZodIssue): string {
  // Schemas of this package say what they expect; the rest is said here.
  if (issue.message.startsWith("expected ")) return issue.message;
  switch (issue.code) {
    case "invalid_type":
      return `expected ${typeWords[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `expected ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "too_small":
      return `expected ${bound(issue.origin, issue.minimum, issue.inclusive === false ? "above" : "at least")}`;
    case "too_big":
      return `expected ${bound(issue.origin, issue.maximum, issue.inclusive === false ? "below" : "at most")}`;
    default:
      return `expected a valid value (${issue.message})`;
  }
}

const typeWords: Readonly<Record<string, string>> = { int: "an integer", number: "a number", string: "a string", boolean: "true or false", array: "a list", object: "an object", record: "an object" };

function bound(origin: string, limit: number | bigint, word: string): string {
  if (origin === "string") return `${word} ${limit} characters`;
  if (origin === "array") return `a list of ${word} ${limit}`;
  return `a number ${word} ${limit}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((inner, key) => (typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined), value);
}

const shownCharacters = 60;

/** A short form of a value. */
function showValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, shownCharacters)) : String(value);
  return text.length > shownCharacters + 2 ? `${text.slice(0, shownCharacters)}...` : text;
}
