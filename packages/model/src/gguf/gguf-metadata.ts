/** Typed access to GGUF metadata, where any key may be missing or of the wrong type. */

import { KvquantError } from "@kvquant/spec";

/** Metadata of one file; every getter throws CORRUPT_DATA for a value of another type. */
export interface GgufMetadata {
  readonly path: string;
  readonly entries: ReadonlyMap<string, unknown>;
  /** A safe integer; u64 values are converted. */
  integer(key: string): number | undefined;
  number(key: string): number | undefined;
  string(key: string): string | undefined;
  boolean(key: string): boolean | undefined;
  /** The value, or CORRUPT_DATA naming the missing key. */
  required<T>(key: string, value: T | undefined): T;
}

/** Wraps the key-value pairs of a file. */
export function createGgufMetadata(path: string, entries: ReadonlyMap<string, unknown>): GgufMetadata {
  const wrong = (key: string, expected: string): KvquantError =>
    new KvquantError("CORRUPT_DATA", `${path}: expected ${expected} for ${key}, got ${describe(entries.get(key))}`);
  const number = (key: string): number | undefined => {
    const value = entries.get(key);
    if (value === undefined) return undefined;
    const converted = typeof value === "bigint" ? Number(value) : value;
    if (typeof converted !== "number" || !Number.isFinite(converted)) throw wrong(key, "a number");
    return converted;
  };
  return {
    path,
    entries,
    number,
    integer(key) {
      const value = number(key);
      if (value !== undefined && !Number.isSafeInteger(value)) throw wrong(key, "an integer");
      return value;
    },
    string(key) {
      const value = entries.get(key);
      if (value !== undefined && typeof value !== "string") throw wrong(key, "a string");
      return value;
    },
    boolean(key) {
      const value = entries.get(key);
      if (value !== undefined && typeof value !== "boolean") throw wrong(key, "true or false");
      return value;
    },
    required(key, value) {
      if (value === undefined) throw new KvquantError("CORRUPT_DATA", `${path}: expected metadata ${key}, got none; the file is damaged or not a language model`);
      return value;
    },
  };
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  const text = String(value);
  return `${typeof value} ${text.length > 60 ? `${text.slice(0, 60)}...` : text}`;
}
