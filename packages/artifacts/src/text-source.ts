/** The texts that calibration and evaluation read. */

import { readFile } from "node:fs/promises";
import { defaultText } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { KvquantError } from "@kvquant/spec";
import { describeReadError } from "./describe-read-error.js";

/**
 * Tokens of a text file, or of the text sampled from the model that ships with the project; without special tokens.
 * @param path undefined for the shipped one
 * @param option named in the error as the remedy, such as `--data`
 * @throws IO_ERROR for a file that cannot be read; INVALID_ARGUMENT when nothing ships for the model
 */
export async function readTokens(model: Pick<LanguageModel, "name" | "tokenizer">, path: string | undefined, option: string): Promise<Int32Array> {
  const source = path ?? defaultText(model.name);
  if (source === undefined) {
    throw new KvquantError("INVALID_ARGUMENT", `${option}: expected a text file, because no text ships for model ${model.name}, got none; give ${option} <file>`);
  }
  return model.tokenizer.encode(await readText(source), { addSpecial: false, parseSpecial: false });
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new KvquantError("IO_ERROR", `text: expected a readable file, got ${describeReadError(error)} for ${path}; check the path`, { cause: error });
  }
}
