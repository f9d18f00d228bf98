/** Sizes on the command line, such as `256k` tokens and `24GiB`. */

import { InvalidArgumentError } from "commander";

const TOKEN_UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2 };

const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

/** Tokens: `4096`, `256k` (k is 1,024, as in the names of models) or `1M`. */
export function parseTokens(text: string): number {
  const tokens = parseSize(text, TOKEN_UNITS);
  if (tokens === undefined || tokens < 1) throw new InvalidArgumentError(`Expected a count of tokens such as 8192, 256k or 1M, got "${text}".`);
  return tokens;
}

/** Bytes with their unit: `24GiB`, `512MiB`, or decimal as in `24GB`. */
export function parseBytes(text: string): number {
  const bytes = parseSize(text, BYTE_UNITS);
  if (bytes === undefined || bytes < 1) throw new InvalidArgumentError(`Expected a size with its unit such as 24GiB, 512MiB or 24GB, got "${text}".`);
  return bytes;
}

/** A whole number of units; undefined for anything else. */
function parseSize(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined || !Object.hasOwn(units, unit.toLowerCase()) ? undefined : units[unit.toLowerCase()]!;
  if (digits === undefined || factor === undefined) return undefined;
  const size = Math.floor(Number(digits) * factor);
  return Number.isSafeInteger(size) ? size : undefined;
}
