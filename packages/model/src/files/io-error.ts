/** Turns an error of the operating system into a KvquantError that says what to do. */

import { KvquantError } from "@kvquant/spec";

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder; check the path",
  EACCES: "permission denied; check who owns it",
  EPERM: "not permitted; check who owns it",
  EROFS: "the file system is read-only; choose another folder",
  ENOSPC: "the disk is full; free some space or choose another folder",
  EDQUOT: "the disk quota is used up; free some space or choose another folder",
  EISDIR: "it is a folder, a file was expected",
  ENOTDIR: "a part of the path is a file, a folder was expected",
  EMFILE: "too many open files; close some or raise the limit",
};

/** An IO_ERROR that names what was done to which path, the system's code and a remedy. KvquantErrors pass unchanged. */
export function ioError(action: string, path: string, cause: unknown): KvquantError {
  if (KvquantError.isInstance(cause)) return cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const remedy = (code === undefined ? undefined : REMEDIES[code]) ?? (cause instanceof Error ? cause.message : String(cause));
  return new KvquantError("IO_ERROR", `cannot ${action} ${path}: ${remedy}${code === undefined ? "" : ` (${code})`}`, { cause });
}
