/** Opens a model whatever its format. */

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { openGguf } from "../gguf/open-gguf.js";
import { openSafetensors } from "../safetensors/open-safetensors.js";
import { ioError } from "./io-error.js";
import type { ModelFile } from "./model-file.js";

/**
 * Opens a GGUF file, or a Hugging Face folder (config.json, safetensors, tokenizer.json) by its path or that of its config.json.
 * Weights are read on demand; the file stays open until `close`.
 * @throws IO_ERROR when it cannot be read
 * @throws CORRUPT_DATA when it is damaged
 * @throws UNSUPPORTED for an architecture or tensor type that has no reader here
 */
export async function openModelFile(path: string): Promise<ModelFile> {
  const whole = resolve(path);
  let folder: boolean;
  try {
    folder = (await stat(whole)).isDirectory();
  } catch (cause) {
    throw ioError("open", path, cause);
  }
  if (folder) return openSafetensors(whole);
  return /[\\/]config\.json$/.test(whole) ? openSafetensors(join(whole, "..")) : openGguf(whole);
}
