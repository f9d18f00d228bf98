/** Checks that a file on disk is the one that was meant. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";

/** What is known of a file before it is there. `gitBlob` is the SHA-1 git gives small files of a hub. */
export interface ExpectedFile {
  readonly size?: number | undefined;
  readonly sha256?: string | undefined;
  readonly gitBlob?: string | undefined;
}

/**
 * What is wrong with a file, undefined when nothing is.
 * @param onBytes told the bytes read so far
 */
export async function mismatchOf(path: string, expected: ExpectedFile, onBytes?: (done: number, total: number) => void): Promise<string | undefined> {
  const { size } = await stat(path);
  if (expected.size !== undefined && size !== expected.size) return `expected ${expected.size} bytes, got ${size}`;
  if (expected.sha256 === undefined && expected.gitBlob === undefined) return undefined;
  const hash = createHash(expected.sha256 === undefined ? "sha1" : "sha256");
  if (expected.sha256 === undefined) hash.update(`blob ${size}\0`);
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    done += chunk.length;
    onBytes?.(done, size);
  }
  const got = hash.digest("hex");
  const wanted = expected.sha256 ?? expected.gitBlob!;
  return got === wanted ? undefined : `expected ${expected.sha256 === undefined ? "git SHA-1" : "SHA-256"} ${wanted}, got ${got}`;
}
