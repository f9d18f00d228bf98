/** Options of `kvquant eval --suite`, and what they may not be given with. */

import { InvalidArgumentError } from "commander";
import type { Command } from "commander";
import { SUITE_PARTS } from "@kvquant/eval";
import type { SuitePart } from "@kvquant/eval";
import { integerFrom, integersFrom, numberWithin } from "../options.js";
import { UsageError } from "../usage-error.js";

/** What the suite takes besides the options of `kvquant eval`. */
export interface SuiteArguments {
  readonly suite?: readonly SuitePart[];
  readonly report?: string;
  readonly resume?: boolean;
  readonly lengths?: readonly number[];
  readonly trials?: number;
  readonly depths?: readonly number[];
  readonly seed?: number;
  readonly driftPrompts?: number;
  readonly driftPromptTokens?: number;
  readonly driftTokens?: number;
}

/** Adds {@link SuiteArguments}. */
export function addSuiteOptions(command: Command): Command {
  return command
    .option("--suite <parts>", `run the fidelity suite: ${SUITE_PARTS.join(", ")}, divided by commas, or all`, parseParts)
    .option("--report <folder>", "with --suite: write report.html and report.json here, and keep finished units")
    .option("--resume", "with --report: go on from the units finished there")
    .option("--lengths <tokens>", "with --suite: tokens of windows and of retrieval prompts (default: 2048,4096,8192, as the model's context allows)", integersFrom(2))
    .option("--trials <count>", "with --suite: trials of a retrieval task at each length (default: 10)", integerFrom(1))
    .option("--depths <shares>", "with --suite: where needles are, 0 to 1 (default: 0.1,0.3,0.5,0.7,0.9)", sharesWithin)
    .option("--seed <number>", "with --suite: of keys, haystacks and intervals (default: 0)", integerFrom(0))
    .option("--drift-prompts <count>", "with --suite: prompts that are continued (default: 4)", integerFrom(1))
    .option("--drift-prompt-tokens <count>", "with --suite: tokens of such a prompt (default: 1024)", integerFrom(2))
    .option("--drift-tokens <count>", "with --suite: tokens of a continuation (default: 128)", integerFrom(1));
}

const SUITE_ONLY = ["report", "resume", "lengths", "trials", "depths", "seed", "driftPrompts", "driftPromptTokens", "driftTokens"] as const;

/** Refuses combinations that would leave an option without effect. @throws UsageError */
export function checkSuiteArguments(options: SuiteArguments, given: (name: string) => boolean): void {
  if (options.suite === undefined) {
    const idle = SUITE_ONLY.find((name) => options[name] !== undefined);
    if (idle !== undefined) throw new UsageError(`--${dashed(idle)}: expected with --suite, got it without; add --suite ${SUITE_PARTS.slice(0, 2).join(",")}`);
    return;
  }
  if (options.resume === true && options.report === undefined) throw new UsageError("--resume: expected with --report <folder>, which holds what was finished, got it without");
  if (given("context")) throw new UsageError("--context: expected without --suite, got both; the suite takes --lengths");
}

function parseParts(text: string): readonly SuitePart[] {
  if (text === "all") return SUITE_PARTS;
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !(SUITE_PARTS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`Expected parts among ${SUITE_PARTS.join(", ")}, or all, got "${unknown}".`);
  return names as SuitePart[];
}

function sharesWithin(text: string): number[] {
  return text.split(",").map(numberWithin({ minimum: 0, maximum: 1 }));
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
