/** Decides which files of a repository make the model. */

import { KvquantError } from "@kvquant/spec";
import { unavailable } from "./failures.js";
import type { HubFile } from "./hub-listing.js";

/** One GGUF file, or a folder of them with its configuration. */
export type ChosenFiles = { readonly kind: "gguf"; readonly file: HubFile; readonly outOf: number } | { readonly kind: "safetensors"; readonly files: readonly HubFile[]; readonly index: HubFile | undefined };

/** Best first: four bits and a little more, as most people run, then the nearest others. */
const PREFERENCE = ["Q4_K_M", "Q4_K_S", "Q5_K_M", "Q5_K_S", "Q4_1", "Q4_0", "Q6_K", "Q8_0", "Q5_1", "Q5_0", "BF16", "F16", "F32"];
const EXTRAS = ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/**
 * The named file, else the GGUF file of the first type in `PREFERENCE` that exists once, else the safetensors set.
 * @throws UNAVAILABLE for a file that is not there, a repository without a model, or several GGUF files no rule decides between (all are listed)
 */
export function chooseFiles(files: readonly HubFile[], repository: string, wanted: string | undefined): ChosenFiles {
  const byName = new Map(files.map((file) => [file.name, file]));
  const models = files.filter((file) => /\.gguf$/i.test(file.name) && !/mmproj|imatrix/i.test(file.name));
  if (wanted !== undefined) {
    const file = byName.get(wanted);
    if (!file) throw unavailable(`hf:${repository}/${wanted}`, "the repository has no such file", `it has ${list(models.length > 0 ? models : files)}`);
    if (!/\.gguf$/i.test(wanted)) throw new KvquantError("INVALID_ARGUMENT", `hf:${repository}/${wanted}: expected a .gguf file, or no file for the whole repository, got ${wanted}`);
    return { kind: "gguf", file, outOf: 1 };
  }
  const whole = models.filter((file) => !/-\d{5}-of-\d{5}\.gguf$/i.test(file.name));
  if (whole.length === 1) return { kind: "gguf", file: whole[0]!, outOf: 1 };
  for (const type of whole.length > 1 ? PREFERENCE : []) {
    const matching = whole.filter((file) => new RegExp(`(^|[^A-Za-z0-9_])${type}([^A-Za-z0-9_]|$)`, "i").test(file.name.replace(/\.gguf$/i, "")));
    if (matching.length === 1) return { kind: "gguf", file: matching[0]!, outOf: whole.length };
    if (matching.length > 1) throw ambiguous(repository, matching);
  }
  if (whole.length > 1) throw ambiguous(repository, whole);
  return chooseSafetensors(byName, repository, models);
}

function chooseSafetensors(byName: ReadonlyMap<string, HubFile>, repository: string, parts: readonly HubFile[]): ChosenFiles {
  const config = byName.get("config.json");
  const tokenizer = byName.get("tokenizer.json");
  const single = byName.get("model.safetensors");
  const index = single ? undefined : byName.get("model.safetensors.index.json");
  if (!config || !tokenizer || !(single ?? index)) {
    const why = parts.length > 0 ? `its GGUF file is split into ${parts.length} parts, which cannot be read` : "it has no .gguf file and not all of config.json, tokenizer.json and model.safetensors";
    throw unavailable(`hf:${repository}`, why, "choose another repository of the model");
  }
  const extras = EXTRAS.map((name) => byName.get(name)).filter((file) => file !== undefined);
  return { kind: "safetensors", files: [config, tokenizer, ...extras, ...(single ? [single] : [])], index };
}

function ambiguous(repository: string, files: readonly HubFile[]): KvquantError {
  return unavailable(`hf:${repository}`, `it has several files to choose from: ${list(files)}`, `name one, as in hf:${repository}/${files[0]!.name}`);
}

function list(files: readonly HubFile[]): string {
  const names = files.slice(0, 30).map((file) => file.name);
  return names.length < files.length ? `${names.join(", ")} and ${files.length - names.length} more` : names.join(", ");
}
