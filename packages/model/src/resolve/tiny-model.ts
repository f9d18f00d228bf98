/** The model that comes with the package. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { unavailable } from "./failures.js";

/**
 * Path of models/tiny.gguf, seen from src/resolve/ and from dist/.
 * @throws UNAVAILABLE when the package came without it
 */
export function tinyModelPath(): string {
  const candidates = ["../models/tiny.gguf", "../../models/tiny.gguf"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const found = candidates.find((path) => existsSync(path));
  if (found) return found;
  throw unavailable("tiny", `the package has no ${candidates[0]}`, "reinstall @kvquant/model, or give the path of a model");
}
