/** `kvquant new-quantizer <name>`: a folder with a quantizer to start from. */

import { Command } from "commander";
import { presetNames } from "@kvquant/quant";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { writeQuantizer } from "../new-quantizer/write-quantizer.js";
import { addCommonOptions } from "../options.js";
import type { CommonOptions } from "../options.js";
import { UsageError } from "../usage-error.js";

interface NewQuantizerOptions extends CommonOptions {
  readonly parent: string;
}

/** Names of files, caches and packages at once. */
const namePattern = /^[a-z][a-z0-9-]*$/;
const reserved = ["kvquant", "baseline", "fp16"];

export function newQuantizerCommand(io: Io): Command {
  const command = new Command("new-quantizer")
    .description("Writes a folder with a working quantizer of your own, its test and a README; overwrites nothing.")
    .argument("<name>", "of the folder and the cache: lower-case letters, digits and hyphens")
    .option("--parent <folder>", "where the folder goes", ".");
  return addCommonOptions(command).action((name: string, options: NewQuantizerOptions) => runNewQuantizer(name, options, io));
}

async function runNewQuantizer(name: string, options: NewQuantizerOptions, io: Io): Promise<void> {
  if (!namePattern.test(name)) throw new UsageError(`new-quantizer: expected a name of lower-case letters, digits and hyphens, such as my-idea, got "${name}"`);
  if (reserved.includes(name) || presetNames.includes(name)) throw new UsageError(`new-quantizer: expected a name that is not taken, got "${name}"`);
  const context = createContext(io, options);
  const made = await writeQuantizer(name, options.parent);
  context.print(
    `${made.files.map((file) => `${made.folder}/${file}\n`).join("")}\n` +
      `Next:\n  cd ${made.folder} && npm test\n  kvquant eval tiny --quantizer ${made.folder}/quantizer.mjs --caches fp16,${name},int4-token --windows 2 --tail 0\n`,
  );
  if (!made.linked) context.progress.note("npm test needs @kvquant/quant: npm install --save-dev @kvquant/quant");
  context.printJson({ name, ...made });
}
