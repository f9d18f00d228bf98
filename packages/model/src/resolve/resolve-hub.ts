/** Models of a hub: `hf:owner/repo[/file]`. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { writeFileAtomically } from "../files/write-file-atomically.js";
import { readJson } from "../safetensors/read-json.js";
import { shardNames } from "../safetensors/shard-names.js";
import { chooseFiles } from "./choose-files.js";
import type { ChosenFiles } from "./choose-files.js";
import { downloadFile } from "./download-file.js";
import { unavailable } from "./failures.js";
import { listHubFiles } from "./hub-listing.js";
import type { HubFile } from "./hub-listing.js";
import type { ResolveContext } from "./resolve-options.js";
import { withLock } from "./with-lock.js";

/** Which file of a repository was chosen, written once all of the model is there. */
const MANIFEST = ".kvquant.json";

/**
 * Path of a hub model on this machine, downloaded if it is not there yet.
 * @param name what follows `hf:`
 * @throws INVALID_ARGUMENT, UNAVAILABLE, CORRUPT_DATA, CANCELLED, IO_ERROR
 */
export async function resolveHub(name: string, context: ResolveContext): Promise<{ path: string; name: string }> {
  const { repository, file } = parseName(name);
  const folder = join(context.folder, "hf", ...repository.split("/"));
  const known = await fromCache(folder, file);
  if (known) return { path: known.path, name: `hf:${repository}${known.file === "." ? "" : `/${known.file}`}` };
  if (context.offline) throw unavailable(`hf:${name}`, "it was not downloaded yet and --offline forbids to", "run once with a network, or give the path of a model");
  return withLock(join(folder, ".lock"), context, async () => {
    const files = await listHubFiles(repository, context);
    const chosen = chooseFiles(files, repository, file);
    if (chosen.kind === "gguf") {
      if (chosen.outOf > 1) context.progress(`chose ${chosen.file.name} of ${chosen.outOf} GGUF files`);
      await fetchFile(chosen.file, { repository, folder, context });
    } else await fetchFolder(chosen, { repository, folder, context, files });
    const path = chosen.kind === "gguf" ? chosen.file.name : ".";
    if (file === undefined) await writeFileAtomically(join(folder, MANIFEST), new TextEncoder().encode(JSON.stringify({ path })));
    return { path: join(folder, path), name: `hf:${repository}${path === "." ? "" : `/${path}`}` };
  });
}

function parseName(name: string): { repository: string; file: string | undefined } {
  const parts = name.split("/");
  if (parts.length < 2 || parts.some((part) => !/^[\w.+ -]+$/.test(part) || /^\.*$/.test(part))) {
    throw new KvquantError("INVALID_ARGUMENT", `hf:${name}: expected hf:owner/repo or hf:owner/repo/file.gguf, got ${JSON.stringify(`hf:${name}`)}`);
  }
  return { repository: parts.slice(0, 2).join("/"), file: parts.length > 2 ? parts.slice(2).join("/") : undefined };
}

async function fromCache(folder: string, file: string | undefined): Promise<{ path: string; file: string } | undefined> {
  let known = file;
  if (known === undefined) {
    const manifest = (await readJson(join(folder, MANIFEST), false)) as { path?: unknown } | undefined;
    if (typeof manifest?.path !== "string") return undefined;
    known = manifest.path;
  }
  const path = join(folder, known);
  // Files get their names only when whole and checked.
  return existsSync(known === "." ? join(path, "config.json") : path) ? { path, file: known } : undefined;
}

interface Place {
  readonly repository: string;
  readonly folder: string;
  readonly context: ResolveContext;
}

async function fetchFile(file: HubFile, place: Place): Promise<void> {
  const { repository, folder, context } = place;
  const url = `${context.endpoint}/${repository}/resolve/main/${file.name.split("/").map(encodeURIComponent).join("/")}`;
  await downloadFile({ url, target: join(folder, file.name), expected: file, mustBeHashed: /\.(gguf|safetensors)$/i.test(file.name) }, context);
}

async function fetchFolder(chosen: Extract<ChosenFiles, { kind: "safetensors" }>, place: Place & { files: readonly HubFile[] }): Promise<void> {
  for (const file of chosen.files) await fetchFile(file, place);
  if (!chosen.index) return;
  await fetchFile(chosen.index, place);
  const path = join(place.folder, chosen.index.name);
  for (const name of shardNames(await readJson(path, true), path)) {
    const shard = place.files.find((file) => file.name === name);
    if (!shard) throw unavailable(`hf:${place.repository}`, `its index names ${name}, which is not there`, "choose another repository of the model");
    await fetchFile(shard, place);
  }
}
