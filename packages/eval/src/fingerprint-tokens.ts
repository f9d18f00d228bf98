/** Identifies a text by its tokens. */

import { createHash } from "node:crypto";

/** SHA-256 in hex of windows of tokens: their count, then each one's length and tokens, all 32-bit little-endian. */
export function fingerprintTokens(windows: readonly Int32Array[]): string {
  const hash = createHash("sha256");
  const header = Buffer.alloc(4);
  const addNumber = (value: number): void => {
    header.writeInt32LE(value);
    hash.update(header);
  };
  addNumber(windows.length);
  for (const window of windows) {
    addNumber(window.length);
    const bytes = Buffer.alloc(4 * window.length);
    window.forEach((token, index) => bytes.writeInt32LE(token, 4 * index));
    hash.update(bytes);
  }
  return hash.digest("hex");
}
