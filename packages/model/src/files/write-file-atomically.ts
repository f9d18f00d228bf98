/** Writes a file so that readers see the old one or the whole new one, also after a crash or on a full disk. */

import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ioError } from "./io-error.js";

/** The part of an open file that is used; tests put a faulty one in its place. */
export type WritableHandle = Pick<FileHandle, "write" | "sync" | "close">;

/** What can be written: bytes, or pieces of them as they become ready. */
export type FileContent = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes `content` aside in the same folder (made if missing), syncs it to the disk and renames it over `path`.
 * If anything fails, also the source of the content, the file aside is removed and `path` is as before.
 * @param options `openFile` replaces the opening of the file aside
 * @throws IO_ERROR; errors of the content's source pass unchanged
 */
export async function writeFileAtomically(path: string, content: FileContent, options: { openFile?: (path: string) => Promise<WritableHandle> } = {}): Promise<void> {
  const target = resolve(path);
  const folder = dirname(target);
  const aside = join(folder, `.${basename(target)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
  await attempt("make the folder of", target, mkdir(folder, { recursive: true }));
  const handle = await attempt("write", target, (options.openFile ?? openAside)(aside));
  try {
    await writeAll(handle, content, target);
    await attempt("write", target, handle.sync());
    await attempt("write", target, handle.close());
    await attempt("replace", target, rename(aside, target));
  } catch (error) {
    // The first error is the one to report; the handle may be closed already.
    await handle.close().catch(() => undefined);
    await rm(aside, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(folder);
}

function openAside(path: string): Promise<WritableHandle> {
  return open(path, "wx");
}

async function writeAll(handle: WritableHandle, content: FileContent, target: string): Promise<void> {
  if (content instanceof Uint8Array) return writeBytes(handle, content, target);
  for await (const bytes of content) await writeBytes(handle, bytes, target);
}

async function writeBytes(handle: WritableHandle, bytes: Uint8Array, target: string): Promise<void> {
  let done = 0;
  while (done < bytes.length) done += (await attempt("write", target, handle.write(bytes, done, bytes.length - done))).bytesWritten;
}

/** Makes the rename itself durable; some systems cannot sync a folder, where the file is then only as durable as the system makes it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

async function attempt<T>(action: string, path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw ioError(action, path, cause);
  }
}
