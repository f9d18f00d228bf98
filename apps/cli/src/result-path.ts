/** Where a command's result goes, found out before the long work that makes it. */

import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { ioError } from "@kvquant/model/files";
import { KvquantError } from "@kvquant/spec";

/** Path of a model's artifact: the given one, or `<model>-<suffix>.kvq` in the current folder. @throws IO_ERROR when it cannot be written */
export async function artifactPath(model: string, suffix: string, given: string | undefined): Promise<string> {
  const path = given ?? `${model.replaceAll(/[^\w.-]+/g, "-")}-${suffix.replaceAll("/", "-")}.kvq`;
  await checkWritable(path);
  return path;
}

/** Makes the folder of a file to be written. @throws IO_ERROR when the path is a folder, or its folder cannot be made or written to */
export async function checkWritable(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new KvquantError("IO_ERROR", `cannot write ${path}: expected the path of a file, got a folder; add a name`);
  const folder = dirname(resolve(path));
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (cause) {
    throw ioError("write", path, cause);
  }
}
