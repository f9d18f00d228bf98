/** Takes one file out of a zip archive such as a wheel. */

import { closeSync, createWriteStream, fstatSync, openSync } from "node:fs";
import { Transform } from "node:stream";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fromRandomAccessReader } from "yauzl";
import type { Entry, ZipFile } from "yauzl";
import { KvquantError } from "@kvquant/spec";
import { ZipReader } from "./zip-reader.js";

/** How `extractZipMember` reports and stops. */
export interface ExtractOptions {
  /** Told the bytes written so far. */
  readonly onBytes?: (done: number, total: number) => void;
  /** Stops it, leaving a part behind. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the archive's file `member` to `target`.
 * @throws CORRUPT_DATA when the archive cannot be read or has no such file; errors of writing and of `signal` pass unchanged
 */
export async function extractZipMember(paths: { archive: string; member: string; target: string }, options: ExtractOptions = {}): Promise<void> {
  const { archive, member, target } = paths;
  const zip = await openZip(archive).catch((cause: unknown) => {
    throw unreadable(archive, cause);
  });
  try {
    const entry = await findEntry(zip, member).catch((cause: unknown) => {
      throw unreadable(archive, cause);
    });
    if (!entry) throw new KvquantError("CORRUPT_DATA", `${archive}: expected a file ${member} in it, got none`);
    const source = await openEntry(zip, entry).catch((cause: unknown) => {
      throw unreadable(archive, cause);
    });
    let broken: unknown;
    source.on("error", (cause) => (broken = cause));
    let done = 0;
    const counter = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        done += chunk.length;
        options.onBytes?.(done, entry.uncompressedSize);
        next(null, chunk);
      },
    });
    await pipeline(source, counter, createWriteStream(target), options.signal ? { signal: options.signal } : {}).catch((error: unknown) => {
      throw error === broken && !options.signal?.aborted ? unreadable(archive, error) : error;
    });
  } finally {
    zip.close();
  }
}

async function openZip(archive: string): Promise<ZipFile> {
  const handle = openSync(archive, "r");
  const { size } = fstatSync(handle);
  return new Promise((opened, failed) =>
    fromRandomAccessReader(new ZipReader(handle, size), size, { lazyEntries: true, autoClose: false }, (error, zip) => {
      if (!error) return opened(zip);
      closeSync(handle);
      failed(error);
    }),
  );
}

function openEntry(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((opened, failed) => zip.openReadStream(entry, (error, stream) => (error ? failed(error) : opened(stream))));
}

function findEntry(zip: ZipFile, member: string): Promise<Entry | undefined> {
  return new Promise((found, failed) => {
    zip.on("entry", (entry: Entry) => {
      if (entry.fileName === member) found(entry);
      else zip.readEntry();
    });
    zip.on("end", () => found(undefined));
    zip.on("error", failed);
    zip.readEntry();
  });
}

function unreadable(archive: string, cause: unknown): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${archive}: expected a zip archive, got one that cannot be read (${(cause as Error).message})`, { cause });
}
