// Changes inputs: bytes, ranges, numbers, words of the format, and values that the program compared with.

/** @typedef {import("./coverage.mjs").Compared} Compared */
/** @typedef {(below: number) => number} Random an integer from 0 to `below` - 1 */

const numbers = [0, 1, 2, 3, 7, 8, 16, 31, 32, 63, 64, 65, 100, 127, 128, 255, 256, 1024, 4096, 32767, 65535, 65536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const texts = ["-1", "0", "1e999", "-0", "1.5", "9007199254740993", "null", "true", '""', "[]", "{}", '"__proto__"', "\\u0000", "\ud800", "NaN"];

/** The same numbers for the same seed. @param {number} seed @returns {Random} */
export function createRandom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/**
 * A changed copy.
 * @param {Uint8Array} input
 * @param {{ random: Random, maximum: number, words: readonly Buffer[], pairs: readonly [Compared, Compared][], other: Uint8Array }} context `maximum`: longest result; `other`: another input of the corpus
 */
export function mutate(input, { random, maximum, words, pairs, other }) {
  /** @type {Buffer} */
  let bytes = Buffer.from(input);
  const rounds = 1 << random(4);
  for (let round = 0; round < rounds; round++) {
    const at = random(bytes.length + 1);
    const kind = random(pairs.length > 0 ? 13 : 10);
    if (kind === 0 && bytes.length > 0) flip(bytes, random);
    else if (kind === 1 && bytes.length > 0) bytes[at % bytes.length] = random(256);
    else if (kind === 2) bytes = splice(bytes, at, random(8) === 0 ? random(bytes.length + 1) : random(9), Buffer.alloc(0));
    else if (kind === 3) bytes = splice(bytes, at, 0, Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256))));
    else if (kind === 4) bytes = splice(bytes, at, 0, piece(bytes, random));
    else if (kind === 5) bytes = splice(bytes, at, random(2) === 0 ? 0 : random(64), piece(other, random));
    else if (kind === 6) writeNumber(bytes, at, numbers[random(numbers.length)] ?? 0, random);
    else if (kind === 7 && words.length > 0) {
      const word = words[random(words.length)] ?? Buffer.alloc(0);
      bytes = splice(bytes, at, random(2) === 0 ? 0 : word.length, word);
    } else if (kind === 8) bytes = replaceNumeral(bytes, random);
    else if (kind === 9) bytes = splice(bytes, at, random(2) * random(8), Buffer.from(texts[random(texts.length)] ?? ""));
    else if (kind >= 10) bytes = replaceCompared(bytes, pairs[random(pairs.length)] ?? [0, 0], random);
  }
  return bytes.length > maximum ? bytes.subarray(0, maximum) : bytes;
}

/** @param {Buffer} bytes @param {Random} random */
function flip(bytes, random) {
  const at = random(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
}

/** @param {Buffer} bytes @param {number} at @param {number} removed @param {Uint8Array} added */
function splice(bytes, at, removed, added) {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

/** Some bytes of it, mostly few. @param {Uint8Array} bytes @param {Random} random */
function piece(bytes, random) {
  const from = random(bytes.length + 1);
  return Buffer.from(bytes.subarray(from, from + (random(8) === 0 ? random(bytes.length + 1) : random(33))));
}

/** Little-endian, of 1, 2, 4 or 8 bytes. @param {Buffer} bytes @param {number} at @param {number} value @param {Random} random */
function writeNumber(bytes, at, value, random) {
  const size = 1 << random(4);
  if (at + size <= bytes.length) encodeNumber(random(4) === 0 ? -value : value, size).copy(bytes, at);
}

/** @param {number} value @param {number} size */
function encodeNumber(value, size) {
  const out = Buffer.alloc(8);
  out.writeBigInt64LE(BigInt.asIntN(64, BigInt(Number.isFinite(value) ? Math.trunc(value) : 0)));
  return out.subarray(0, size);
}

/** Another number in place of one written out. @param {Buffer} bytes @param {Random} random */
function replaceNumeral(bytes, random) {
  const text = bytes.toString("latin1");
  const found = [...text.matchAll(/-?\d+/g)];
  const match = found[random(found.length)];
  if (match === undefined) return bytes;
  const value = random(3) === 0 ? (texts[random(6)] ?? "0") : String((numbers[random(numbers.length)] ?? 0) * (random(4) === 0 ? -1 : 1));
  return Buffer.from(text.slice(0, match.index) + value + text.slice(match.index + match[0].length), "latin1");
}

/** Puts the one side of a comparison where the other side stands in the input. @param {Buffer} bytes @param {[Compared, Compared]} pair @param {Random} random */
function replaceCompared(bytes, pair, random) {
  const [from, to] = random(2) === 0 ? pair : [pair[1], pair[0]];
  const near = typeof to === "number" ? to + random(3) - 1 : to;
  const forms = [[Buffer.from(String(from)), Buffer.from(String(near))]];
  if (typeof from === "number" && typeof near === "number") for (const size of [1, 2, 4, 8]) forms.push([encodeNumber(from, size), encodeNumber(near, size)]);
  const [old, fresh] = forms[random(forms.length)] ?? [];
  if (old === undefined || fresh === undefined || old.length === 0) return bytes;
  const first = bytes.indexOf(old, random(bytes.length + 1));
  const place = first < 0 ? bytes.indexOf(old) : first;
  return place < 0 ? bytes : splice(bytes, place, old.length, fresh);
}
