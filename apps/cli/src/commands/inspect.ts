/** `kvquant inspect <model or .kvq>`: what a model or an artifact holds. */

import { Command } from "commander";
import { readArtifact } from "@kvquant/artifacts";
import type { LanguageModel } from "@kvquant/model";
import { artifactTableBytes } from "@kvquant/quant";
import type { KvqArtifact } from "@kvquant/quant";
import type { QuantizerArtifact } from "@kvquant/spec";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { addModelOptions } from "../options.js";
import type { ModelOptions } from "../options.js";
import { formatTable } from "../table.js";
import { withModel } from "../with-model.js";

export function inspectCommand(io: Io): Command {
  const command = new Command("inspect")
    .description("Shows what a model or a .kvq artifact holds.")
    .argument("<model or file>", "name or path of a model, or a .kvq file");
  return addModelOptions(command).action((name: string, options: ModelOptions) => inspect(name, options, io));
}

async function inspect(name: string, options: ModelOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const facts = name.endsWith(".kvq")
    ? describeArtifact(name, await readArtifact(name))
    : await withModel(name, { ...options, context }, async (model) => describeModel(model));
  context.print(
    formatTable(
      [
        { title: "what", align: "left" },
        { title: "value", align: "left" },
      ],
      Object.entries(facts).flatMap(([key, value]) => describeFact(key, value)),
    ),
  );
  context.printJson(facts);
}

/** Rows for people: a list of layers as one row for each run of equal ones. */
function describeFact(key: string, value: unknown): [string, string][] {
  if (!Array.isArray(value)) return [[key, typeof value === "object" ? JSON.stringify(value) : String(value)]];
  const texts = value.map((entry) => JSON.stringify(entry));
  const starts = texts.flatMap((text, index) => (text === texts[index - 1] ? [] : [index]));
  return starts.map((start, run) => {
    const end = (starts[run + 1] ?? texts.length) - 1;
    return [`${key} ${start === end ? start : `${start}-${end}`}`, texts[start]!];
  });
}

function describeModel(model: LanguageModel) {
  const { config, fingerprint, engine, tokenizer } = model;
  return { kind: "model", ...config, name: model.name, fingerprint, engine, chatTemplate: tokenizer.chatTemplate !== undefined };
}

function describeArtifact(path: string, artifact: KvqArtifact) {
  const { cache, model, shape, rope, sinkTokens, calibration } = artifact;
  const tableBytes = artifactTableBytes(artifact);
  const layers = artifact.layers.map(({ key, value }) => ({ key: describeQuantizer(key), value: describeQuantizer(value) }));
  return { kind: "artifact", path, cache, model, shape, rope, sinkTokens, calibration, tableBytes, layers };
}

function describeQuantizer({ id, bits, packing, stages }: QuantizerArtifact) {
  return { id, bits, packing, stages };
}
