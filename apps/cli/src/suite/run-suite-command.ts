/** Runs the fidelity suite for `kvquant eval --suite` and writes what it finds. */

import { basename, join } from "node:path";
import { renderReport } from "@kvquant/eval";
import type { EvaluatedCache, SuitePart } from "@kvquant/eval";
import { writeFileAtomically } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import type { Context } from "../context.js";
import { referenceFolder } from "../reference-folder.js";
import { runSuiteInWorkers } from "../parallel/run-suite-in-workers.js";
import type { SharedSuite } from "../parallel/run-suite-in-workers.js";
import { formatSuite } from "./format-suite.js";
import type { SuiteArguments } from "./suite-arguments.js";

/** What the suite runs on. */
export interface SuiteCommand extends Omit<SuiteArguments, "suite">, Pick<SharedSuite, "jobs" | "worker"> {
  readonly parts: readonly SuitePart[];
  readonly caches: readonly EvaluatedCache[];
  readonly tokens: Int32Array | undefined;
  readonly windows: number | undefined;
  readonly tails: readonly number[];
  readonly context: Context;
}

/** True when a part cuts its windows, prompts or haystack from a text. */
export function needsText(parts: readonly SuitePart[]): boolean {
  return parts.some((part) => part !== "passkey" && part !== "multikey");
}

/** Runs, prints and, with `report`, writes `report.html` and `report.json`; finished units are kept in `units` beside them. */
export async function runSuiteCommand(model: LanguageModel, command: SuiteCommand): Promise<void> {
  const { context, report: folder, driftPrompts, driftPromptTokens, driftTokens, ...suite } = command;
  const caches = shortNames(command.caches);
  let report;
  try {
    report = await context.progress.run(`${suite.parts.join(", ")} of ${caches.length} caches`, (update) =>
      runSuiteInWorkers(model, {
        ...suite,
        caches,
        drift: { prompts: driftPrompts, promptTokens: driftPromptTokens, tokens: driftTokens },
        unitFolder: folder === undefined ? undefined : join(folder, "units"),
        referenceFolder: referenceFolder(),
        signal: context.signal,
        onNotice: (message) => context.progress.note(message),
        onShare: update,
      }),
    );
  } catch (error) {
    if (context.signal.aborted && folder !== undefined) context.progress.note(`what was finished is kept in ${folder}; the same command with --resume goes on from there`);
    throw error;
  }
  if (folder !== undefined) {
    const document = `${JSON.stringify(report, (_key, value: unknown) => value ?? null, 1)}\n`;
    await writeFileAtomically(join(folder, "report.json"), Buffer.from(document));
    await writeFileAtomically(join(folder, "report.html"), Buffer.from(renderReport(report)));
    context.progress.note(`report: ${join(folder, "report.html")}`);
  }
  context.print(formatSuite(report));
  context.printJson(report);
}

/** Files by their names alone, as long as no two caches then have the same. */
function shortNames(caches: readonly EvaluatedCache[]): readonly EvaluatedCache[] {
  const shorten = (name: string): string => (name.endsWith(".kvq") ? basename(name, ".kvq") : name);
  const short = caches.map(({ name }) => shorten(name));
  return caches.map((cache, index) => ({ ...cache, name: short.indexOf(short[index]!) === short.lastIndexOf(short[index]!) ? short[index]! : cache.name }));
}
