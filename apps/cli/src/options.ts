/** Options that several commands share, and the parsers of their values. */

import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import type { CacheBackend, EngineChoice, LoadModelOptions } from "@kvquant/model";
import type { Sensitivity } from "@kvquant/quant";

type Isa = NonNullable<LoadModelOptions["isa"]>;

/** What every command takes. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** What every command that loads a model takes. */
export interface ModelOptions extends CommonOptions {
  readonly offline?: boolean;
  readonly threads?: number;
  readonly engine?: EngineChoice;
  readonly isa?: Isa;
  readonly attention?: "pages" | "tiles";
  readonly backends?: readonly CacheBackend[];
  readonly products?: "fast" | "exact";
}

/** What every command that may have to calibrate takes; undefined: as kept for the model, or the default. */
export interface CalibrationOptions {
  readonly sinks?: number;
  readonly sequences?: number;
  readonly length?: number;
  readonly sensitivity?: Sensitivity;
}

/** What every command that makes caches takes. */
export interface QuantizerOptions {
  readonly quantizer?: readonly string[];
}

/** Adds `--json` and `--quiet`. */
export function addCommonOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document on standard output")
    .option("-q, --quiet", "no progress on standard error");
}

/** Adds {@link ModelOptions}; what measures quality multiplies exactly unless told otherwise. */
export function addModelOptions(command: Command, products: "fast" | "exact" = "fast"): Command {
  return addCommonOptions(command)
    .option("--offline", "use files already on this machine only")
    .option("--threads <count>", "threads of the engine (default: all processors)", integerFrom(1))
    .addOption(new Option("--engine <kind>", "native kernels, or the reference in fp32 (default: auto, native where it can)").choices(["auto", "native", "reference"]))
    .addOption(new Option("--isa <name>", "instruction set of the native engine (default: the best)").choices(["scalar", "avx2", "avx512"]))
    .addOption(new Option("--attention <kind>", "on compressed pages, or on pages decoded first, which any quantizer and head dim can (default: pages where kernels exist)").choices(["pages", "tiles"]))
    .option("--backends <list>", "where caches attend: cuda, cpu, reference or several with commas, the first that can be had (default: the engine's own)", parseBackends)
    .addOption(new Option("--products <kind>", "of the native engine: fast with 8-bit activations, exact in fp32").choices(["fast", "exact"]).default(products));
}

function parseBackends(text: string): CacheBackend[] {
  const known: readonly string[] = ["cuda", "cpu", "reference"];
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`expected ${known.join(", ")} or several of them with commas, got ${JSON.stringify(unknown)}`);
  return names as CacheBackend[];
}

/** Adds {@link QuantizerOptions}. */
export function addQuantizerOption(command: Command): Command {
  const collect = (path: string, others: readonly string[] = []): string[] => [...others, path];
  return command.option("--quantizer <file>", "ES module with a quantizer of your own, which then is a cache under its id; may be given several times (see kvquant new-quantizer)", collect);
}

/** Adds `--jobs`, caches evaluated at once. */
export function addJobsOption(command: Command, preset: number): Command {
  return command.option("--jobs <count>", "caches evaluated side by side, each with a copy of the model in memory", integerFrom(1), preset);
}

/** Adds {@link CalibrationOptions}; without any of them the calibration kept for the model is used. */
export function addCalibrationOptions(command: Command): Command {
  return addFitOptions(command.option("--sinks <count>", "first tokens kept exact (default: 1)", integerFrom(0)));
}

/** Adds what a calibration is made from: {@link CalibrationOptions} without `--sinks`. */
export function addFitOptions(command: Command): Command {
  return command
    .option("--sequences <count>", "calibration windows (default: 4, or what the text has)", integerFrom(1))
    .option("--length <tokens>", "tokens of a calibration window (default: 2048, or the model's context)", integerFrom(2))
    .addOption(new Option("--sensitivity <kind>", "what weighs the fit: gradients, attention or nothing (default: fisher)").choices(["fisher", "attention", "none"]));
}

/** A parser of lists of integers of at least `minimum`, divided by commas. */
export function integersFrom(minimum: number): (text: string) => number[] {
  const parse = integerFrom(minimum);
  return (text) => text.split(",").map(parse);
}

/** A parser of integers of at least `minimum`. */
export function integerFrom(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < minimum) throw new InvalidArgumentError(`Expected an integer of at least ${minimum}.`);
    return value;
  };
}

/** Bounds of a number; `above` and `below` exclude their own value. */
export interface NumberBounds {
  readonly minimum?: number;
  readonly above?: number;
  readonly maximum?: number;
  readonly below?: number;
}

/** A parser of finite numbers within bounds. */
export function numberWithin(bounds: NumberBounds): (text: string) => number {
  const { minimum = -Infinity, above = -Infinity, maximum = Infinity, below = Infinity } = bounds;
  const words = { minimum: "of at least", above: "above", maximum: "at most", below: "below" };
  const expected = Object.entries(bounds).map(([name, value]) => `${words[name as keyof NumberBounds]} ${value}`);
  return (text) => {
    const value = Number(text);
    const fits = text.trim() !== "" && Number.isFinite(value) && value >= minimum && value > above && value <= maximum && value < below;
    if (!fits) throw new InvalidArgumentError(`Expected a number ${expected.join(" and ")}.`);
    return value;
  };
}
