/** Reads the JSON files of a Hugging Face folder. */

import { KvquantError } from "@kvquant/spec";
import { readWholeFile } from "../files/read-whole-file.js";

const LARGEST_JSON = 200_000_000;

/**
 * The parsed file; undefined when it is not there and not `required`.
 * @throws IO_ERROR when it cannot be read
 * @throws CORRUPT_DATA when it is not JSON
 */
export async function readJson(path: string, required: boolean): Promise<unknown> {
  const text = await readText(path, required);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `${path}: expected JSON, got text that is not (${(cause as Error).message}); fetch it again`, { cause });
  }
}

/** As `readJson`, without parsing. */
export async function readText(path: string, required: boolean): Promise<string | undefined> {
  try {
    return new TextDecoder().decode(await readWholeFile(path, { maximumBytes: LARGEST_JSON }));
  } catch (error) {
    const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
    if (!required && code === "ENOENT") return undefined;
    throw error;
  }
}
