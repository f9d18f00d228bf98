/** Reads the configuration: file, then environment, then flags, checked by one schema. */

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { firstProblem, showPath } from "../zod-problem.js";
import { configurationSchema } from "./schema.js";
import type { Configuration } from "./schema.js";
import { configurationVariable, optionName, readSetting, settings } from "./settings.js";

/** Where settings come from. */
export interface ConfigurationSources {
  /** Options as commander parsed them. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined;
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}

type Fields = Record<string, unknown>;
type Origins = Map<string, string>;

/**
 * The effective configuration.
 * @throws INVALID_ARGUMENT naming the field, what was expected and got, and where it came from; IO_ERROR for a file that cannot be read
 */
export function loadConfiguration({ flags = {}, environment = {} }: ConfigurationSources = {}): Configuration {
  const path = textOf(flags["config"]) ?? textOf(environment[configurationVariable]);
  const merged: Fields = path === undefined ? {} : readFile(path);
  const origins: Origins = new Map([["", path ?? "no file"]]);
  for (const setting of settings) {
    const variable = textOf(environment[setting.variable]);
    const flag = flags[optionName(setting)];
    const given = flag ?? variable;
    if (given === undefined) continue;
    const origin = flag === undefined ? setting.variable : setting.flag.replace(/ <.*/, "").replace(/^-\w, /, "");
    if (setting.path[0] === "models") prepareModel(merged, origin);
    assign(merged, setting.path, readSetting(setting, given));
    origins.set(showPath(setting.path), origin);
  }
  const result = configurationSchema.safeParse(merged);
  if (!result.success) {
    const { path: where, text } = firstProblem(result.error, merged, (field) => field[0] === "apiKeys");
    throw new KvquantError("INVALID_ARGUMENT", `configuration: ${showPath(where)}: ${text} (${originOf(origins, where)})`);
  }
  return nameModels(result.data);
}

/** As plain data, ready to be shown: keys and passwords are left out. */
export function describeConfiguration(configuration: Configuration): Record<string, unknown> {
  const { apiKeys, store } = configuration;
  return {
    ...configuration,
    apiKeys: `${apiKeys.length} hidden`,
    ...(store?.url !== undefined && { store: { ...store, url: store.url.replace(/\/\/[^/]*@/, "//...@") } }),
  };
}

/** Flags and variables of a model change the only one there is. */
function prepareModel(merged: Fields, origin: string): void {
  const models = (merged["models"] ??= [{ source: "smollm2" }]);
  if (Array.isArray(models) && models.length > 1) {
    throw new KvquantError("INVALID_ARGUMENT", `configuration: ${origin}: expected a configuration of one model, got a file with ${models.length}; set it in the file`);
  }
}

function assign(target: Fields, path: readonly (string | number)[], value: unknown): void {
  let inner = target as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) {
    const next = inner[key];
    // What is no object is a mistake in the file; the schema will name it.
    if (next !== undefined && (typeof next !== "object" || next === null)) return;
    inner = (inner[key] ??= {}) as Record<string | number, unknown>;
  }
  inner[path.at(-1)!] = value;
}

function originOf(origins: Origins, path: readonly PropertyKey[]): string {
  for (let length = path.length; length > 0; length--) {
    const origin = origins.get(showPath(path.slice(0, length)));
    if (origin !== undefined) return `from ${origin}`;
  }
  return `from ${origins.get("")!}`;
}

function readFile(path: string): Fields {
  let text;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new KvquantError("IO_ERROR", `configuration: expected a readable file, got ${(cause as NodeJS.ErrnoException).code ?? "an error"} for ${path}; check --config and ${configurationVariable}`, { cause });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KvquantError("INVALID_ARGUMENT", `configuration: expected JSON in ${path}, got an error: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new KvquantError("INVALID_ARGUMENT", `configuration: expected an object in ${path}, got something else`);
  const { $schema: _, ...fields } = value as Fields;
  return resolvePaths(fields, dirname(resolve(path)));
}

/** Paths in a file are relative to it. */
function resolvePaths(fields: Fields, folder: string): Fields {
  const absolute = (value: unknown): unknown => (typeof value === "string" && /^\.{1,2}[\\/]/.test(value) ? resolve(folder, value) : value);
  const models = fields["models"];
  const store = fields["store"];
  return {
    ...fields,
    ...(Array.isArray(models) && { models: models.map((model: unknown) => (isFields(model) ? { ...mapValues(model, absolute), ...(Array.isArray(model["quantizers"]) && { quantizers: model["quantizers"].map(absolute) }) } : model)) }),
    ...(isFields(store) && { store: mapValues(store, absolute) }),
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mapValues(fields: Fields, change: (value: unknown) => unknown): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, change(value)]));
}

function nameModels(configuration: Configuration): Configuration {
  const models = configuration.models.map((model) => ({ ...model, name: model.name ?? model.source }));
  const names = models.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new KvquantError("INVALID_ARGUMENT", `configuration: models: expected different names, got ${JSON.stringify(twice)} twice; give each a name`);
  return { ...configuration, models };
}

/** Empty variables count as not set, as compose files write them. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
