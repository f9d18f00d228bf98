/** Keeps control tokens that users write out, such as `<|im_end|>`, from becoming control tokens. */

import { KvquantError } from "@kvquant/spec";

/** First and last private-use character of the basic plane: they have no meaning of their own, so they can stand for something. */
const FIRST_PRIVATE = 0xe000;
const LAST_PRIVATE = 0xf8ff;

/** Control tokens of a model as texts. */
export interface ControlTokens {
  readonly texts: readonly string[];
  /** Finds any of them, the longest first; undefined when the model has none. */
  readonly pattern: RegExp | undefined;
}

/** What a prompt is made of once the template has been applied. */
export type PromptPiece = { readonly kind: "control" | "text"; readonly text: string };

/** Stands between what users wrote and a template. */
export interface ControlGuard {
  /** True when nothing was hidden: then the template's text can be encoded as it is. */
  readonly clean: boolean;
  /** The same value with every control token in its strings, keys included, replaced by one private-use character. */
  hide<Value>(value: Value): Value;
  /** Cuts a rendered prompt at the template's own control tokens, and writes out again what was hidden. */
  split(rendered: string): PromptPiece[];
}

/** The control tokens of a tokenizer. */
export function controlTokens(texts: readonly string[]): ControlTokens {
  const longestFirst = [...new Set(texts.filter((text) => text !== ""))].sort((a, b) => b.length - a.length);
  const pattern = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.map(escapePattern).join("|"), "gu");
  return { texts: longestFirst, pattern };
}

/** A guard for one prompt. @param written everything users wrote, whose private-use characters are not used as stand-ins */
export function createControlGuard({ pattern }: ControlTokens, written: unknown): ControlGuard {
  const taken = new Set<string>();
  eachString(written, (text) => {
    for (const [character] of text.matchAll(/[\ue000-\uf8ff]/g)) taken.add(character);
  });
  const standIns = new Map<string, string>();
  const hidden = new Map<string, string>();
  let next = FIRST_PRIVATE;
  const standIn = (text: string): string => {
    const known = standIns.get(text);
    if (known !== undefined) return known;
    while (next <= LAST_PRIVATE && taken.has(String.fromCharCode(next))) next++;
    if (next > LAST_PRIVATE) throw new KvquantError("INVALID_ARGUMENT", "messages: expected fewer kinds of private-use characters and control tokens, got more than fit; leave them out");
    const character = String.fromCharCode(next++);
    standIns.set(text, character);
    hidden.set(character, text);
    return character;
  };
  const restore = (text: string): string => text.replaceAll(/[\ue000-\uf8ff]/g, (character) => hidden.get(character) ?? character);
  return {
    get clean() {
      return hidden.size === 0;
    },
    hide: (value) => (pattern === undefined ? value : mapStrings(value, (text) => text.replaceAll(pattern, standIn))),
    split(rendered) {
      const pieces: PromptPiece[] = [];
      let start = 0;
      for (const match of pattern === undefined ? [] : rendered.matchAll(pattern)) {
        if (match.index > start) pieces.push({ kind: "text", text: restore(rendered.slice(start, match.index)) });
        pieces.push({ kind: "control", text: match[0] });
        start = match.index + match[0].length;
      }
      if (start < rendered.length) pieces.push({ kind: "text", text: restore(rendered.slice(start)) });
      return pieces;
    },
  };
}

function escapePattern(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function mapStrings<Value>(value: Value, change: (text: string) => string): Value {
  if (typeof value === "string") return change(value) as Value;
  if (Array.isArray(value)) return value.map((entry: unknown) => mapStrings(entry, change)) as Value;
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([key, entry]) => [change(key), mapStrings(entry as unknown, change)])) as Value;
  return value;
}

function eachString(value: unknown, visit: (text: string) => void): void {
  mapStrings(value, (text) => (visit(text), text));
}
