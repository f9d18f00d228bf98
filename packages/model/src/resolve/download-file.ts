/** Downloads one file: resumed where it was cut, checked, and put in place only when whole. */

import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KvquantError } from "@kvquant/spec";
import { ioError } from "../files/io-error.js";
import { throwIfCancelled, unavailable } from "./failures.js";
import { mismatchOf } from "./file-hash.js";
import type { ExpectedFile } from "./file-hash.js";
import { openRemote } from "./open-remote.js";
import type { RemoteFile } from "./open-remote.js";
import type { ResolveContext } from "./resolve-options.js";

const ATTEMPTS = 6;

/** A file to fetch. */
export interface Download {
  readonly url: string;
  /** Where it goes; `<target>.part` holds what there is so far. */
  readonly target: string;
  /** What is known already; more is taken from the answer's headers. */
  readonly expected: ExpectedFile;
  /** Size and a hash must be known from somewhere: weights must not be trusted on length alone. */
  readonly mustBeHashed: boolean;
}

/**
 * Downloads unless the file is there. A cut connection is taken up again where it ended, up to five times; after that, or after `signal`, the part stays for the next call.
 * @throws UNAVAILABLE when the server cannot be reached, refuses or cuts again and again
 * @throws CORRUPT_DATA when the whole file is not the expected one (the part is removed)
 * @throws CANCELLED, IO_ERROR
 */
export async function downloadFile(download: Download, context: ResolveContext): Promise<void> {
  const { target } = download;
  if (await sizeOf(target) !== undefined) return;
  await mkdir(dirname(target), { recursive: true }).catch((cause: unknown) => {
    throw ioError("make the folder of", target, cause);
  });
  const part = `${target}.part`;
  const expected = await fetchAll(download, part, context);
  const name = basename(target);
  const mismatch = await mismatchOf(part, expected, (done, total) => {
    throwIfCancelled(context.signal, name);
    context.progress(`checking ${name}`, done, total);
  }).catch((cause: unknown) => {
    throw ioError("read", part, cause);
  });
  if (mismatch !== undefined) {
    await rm(part, { force: true });
    throw new KvquantError("CORRUPT_DATA", `${download.url}: ${mismatch}; the download was removed, try again, and if it fails again the server's file is not the one meant`);
  }
  await rename(part, target).catch((cause: unknown) => {
    throw ioError("replace", target, cause);
  });
}

/** Fills the part; the result is all that is known of the file. */
async function fetchAll(download: Download, part: string, context: ResolveContext): Promise<ExpectedFile> {
  const { size, sha256 } = download.expected;
  // A part that a crash kept from being renamed.
  if (size !== undefined && sha256 !== undefined && (await sizeOf(part)) === size) return download.expected;
  let failure: unknown;
  let stalls = 0;
  while (stalls < ATTEMPTS) {
    throwIfCancelled(context.signal, basename(download.target));
    const before = (await sizeOf(part)) ?? 0;
    if (stalls > 0) {
      context.progress(`connection lost, attempt ${stalls + 1} of ${ATTEMPTS}: ${basename(download.target)}`);
      await sleep(context.retryMilliseconds * 2 ** (stalls - 1), undefined, context.signal ? { signal: context.signal } : {}).catch(() => undefined);
    }
    try {
      const expected = await fetchOnce(download, part, context);
      if (expected) return expected;
    } catch (error) {
      throwIfCancelled(context.signal, basename(download.target));
      if (KvquantError.isInstance(error)) throw error;
      failure = error;
    }
    stalls = ((await sizeOf(part)) ?? 0) > before ? 1 : stalls + 1;
  }
  throw unavailable(download.url, `the connection failed ${ATTEMPTS} times without a byte (${messageOf(failure)})`, "check the network and start again, the download goes on where it stopped", failure);
}

/** One request; undefined when the part had to be thrown away and the file must be asked for anew. */
async function fetchOnce(download: Download, part: string, context: ResolveContext): Promise<ExpectedFile | undefined> {
  const have = (await sizeOf(part)) ?? 0;
  await using remote = await openRemote(download.url, have, context.signal);
  const expected = combine(download, remote);
  if (remote.start === "complete" || (expected.size !== undefined && have > expected.size)) {
    // Nothing is left to send: the part is whole (the caller checks it), or longer than the file and useless.
    if (have > 0 && have === expected.size) return expected;
    await rm(part, { force: true });
    return undefined;
  }
  const name = basename(download.target);
  const file = await open(part, remote.start === 0 ? "w" : "r+").catch((cause: unknown) => {
    throw ioError("write", part, cause);
  });
  try {
    let at = remote.start;
    for await (const chunk of remote.body) {
      if (expected.size !== undefined && at + chunk.length > expected.size) throw new KvquantError("CORRUPT_DATA", `${download.url}: expected ${expected.size} bytes, got more; try again`);
      await writeWhole(file, { chunk, at, part });
      at += chunk.length;
      context.progress(`downloading ${name}`, at, expected.size ?? 0);
    }
    if (expected.size !== undefined && at < expected.size) throw new Error(`it ended after ${at} of ${expected.size} bytes`);
    await file.sync().catch((cause: unknown) => {
      throw ioError("write", part, cause);
    });
    return expected;
  } finally {
    await file.close();
  }
}

/** A disk that fills up writes less than asked for before it fails. */
async function writeWhole(file: FileHandle, { chunk, at, part }: { chunk: Uint8Array; at: number; part: string }): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, at + done).catch((cause: unknown) => {
      throw ioError("write", part, cause);
    });
    done += bytesWritten;
  }
}

function combine(download: Download, remote: RemoteFile): ExpectedFile {
  const { expected } = download;
  const combined = {
    size: expected.size ?? remote.size,
    sha256: expected.sha256 ?? remote.sha256,
    gitBlob: expected.gitBlob ?? remote.gitBlob,
  };
  if (download.mustBeHashed && combined.sha256 === undefined) throw unavailable(download.url, "the server names no SHA-256 for it (x-linked-etag), so the download could not be checked", "use a hub that does, or download the file yourself and give its path");
  if (expected.size !== undefined && remote.size !== undefined && remote.size !== expected.size) {
    throw new KvquantError("CORRUPT_DATA", `${download.url}: expected a file of ${expected.size} bytes, got one of ${remote.size}; the server's file is not the one meant`);
  }
  return combined;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then((status) => status.size, () => undefined);
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
}
