/** Quantizers from the user's own files. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { checkQuantizer, guardQuantizer, halfPrecision, parsePreset, presetNames, quantizerKit } from "@kvquant/quant";
import type { CachePreset, Quantizer } from "@kvquant/quant";
import { check, KvquantError } from "@kvquant/spec";
import type { Side } from "@kvquant/spec";

/** What the user's files bring. */
export interface CustomQuantizers {
  /** Caches by the name that `parseCacheChoice` takes. */
  readonly presets: ReadonlyMap<string, CachePreset>;
  /** Everything that opening an artifact may need. */
  readonly quantizers: readonly Quantizer[];
}

/** No files given. */
export const noCustomQuantizers: CustomQuantizers = { presets: new Map(), quantizers: [] };

/**
 * Imports modules whose default export is a quantizer, `{ id, key, value }`, or a function of the kit of @kvquant/quant that returns either. A side is a
 * quantizer or the name of a preset to take it from; one that is not given stays exact, in fp16, so that the other is measured alone.
 * @param option how the caller's users name a file, for errors
 * @throws IO_ERROR for a file that is not there, INVALID_ARGUMENT for one that exports something else or takes a name that is taken, UNSUPPORTED for
 * another version of the contract
 */
export async function loadCustomQuantizers(paths: readonly string[] = [], option = "--quantizer"): Promise<CustomQuantizers> {
  const presets = new Map<string, CachePreset>();
  const quantizers = new Map<string, Quantizer>();
  for (const path of paths) {
    const what = `${option} ${path}`;
    const preset = await loadPreset(what, path);
    const taken = preset.id === "fp16" || presetNames.includes(preset.id) || presets.has(preset.id);
    check(!taken, `${what}: id`, "a name that no other cache has", preset.id);
    presets.set(preset.id, preset);
    for (const quantizer of [preset.key, preset.value]) {
      if (isBuiltIn(quantizer.id)) continue;
      check(!quantizers.has(quantizer.id), `${what}: quantizer id`, "one that no other quantizer has", quantizer.id);
      quantizers.set(quantizer.id, quantizer);
    }
  }
  return { presets, quantizers: [...quantizers.values()] };
}

async function loadPreset(what: string, path: string): Promise<CachePreset> {
  const exported: unknown = await importDefault(what, path);
  const made: unknown = typeof exported === "function" ? await callFactory(what, exported as (kit: unknown) => unknown) : exported;
  check(typeof made === "object" && made !== null, what, "a default export that is a quantizer, { id, key, value }, or a function that returns one", describe(made));
  const { id, key, value } = made as { readonly id?: unknown; readonly key?: unknown; readonly value?: unknown };
  if (key === undefined && value === undefined) {
    const quantizer = readQuantizer(what, made);
    return complete({ id: checkCacheName(what, quantizer.id), [quantizer.side]: quantizer });
  }
  const part = (side: Side, given: unknown): Quantizer | undefined => {
    if (given === undefined) return undefined;
    if (typeof given === "string") return parsePreset(given)[side];
    const quantizer = readQuantizer(`${what}: ${side}`, given);
    check(quantizer.side === side, `${what}: ${side}: side`, `a ${side} quantizer`, quantizer.side);
    return quantizer;
  };
  return complete({ id: checkCacheName(what, id), key: part("key", key), value: part("value", value) });
}

function complete({ id, key, value }: { readonly id: string; readonly key?: Quantizer | undefined; readonly value?: Quantizer | undefined }): CachePreset {
  return { id, key: key ?? halfPrecision("key"), value: value ?? halfPrecision("value") };
}

/** A quantizer of the user's, under watch. */
function readQuantizer(what: string, given: unknown): Quantizer {
  const quantizer = checkQuantizer(what, given);
  check(!isBuiltIn(quantizer.id), `${what}: id`, "a name space of your own, such as my/keys (for a quantizer of the library, name a preset that has it)", quantizer.id);
  return guardQuantizer(quantizer);
}

function isBuiltIn(id: string): boolean {
  return id.startsWith("kvquant/") || id.startsWith("baseline/");
}

/** Names come in lists divided by commas, and files of artifacts end in .kvq. */
function checkCacheName(what: string, id: unknown): string {
  check(typeof id === "string" && /^[^\s,]+$/.test(id) && !id.endsWith(".kvq"), `${what}: id`, "a name without spaces and commas, such as mine", String(id));
  return id;
}

async function importDefault(what: string, path: string): Promise<unknown> {
  if (!existsSync(path)) throw new KvquantError("IO_ERROR", `${what}: expected a file, got none; kvquant new-quantizer <name> writes one to start from`);
  let module;
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as Record<string, unknown>;
  } catch (error) {
    throw new KvquantError("INVALID_ARGUMENT", `${what}: expected an ES module that loads (.mjs), got ${String(error)}`, { cause: error });
  }
  check(module.default !== undefined, what, "a default export", `exports ${Object.keys(module).join(", ") || "nothing"}`);
  return module.default;
}

async function callFactory(what: string, factory: (kit: unknown) => unknown): Promise<unknown> {
  try {
    return await factory(quantizerKit);
  } catch (error) {
    if (KvquantError.isInstance(error)) throw error;
    throw new KvquantError("INVALID_ARGUMENT", `${what}: expected a function that returns a quantizer, got ${String(error)}`, { cause: error });
  }
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value;
}
