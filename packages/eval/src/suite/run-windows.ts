/** The perplexity and kld parts: windows of a text through every cache. */

import { windowStart } from "../evaluation-model.js";
import { fingerprintTokens } from "../fingerprint-tokens.js";
import type { ReferenceResult, ReferenceStore } from "../reference-store.js";
import { createWindowScorer } from "../score-window.js";
import type { WindowScorer } from "../score-window.js";
import { throwIfCancelled } from "../throw-if-cancelled.js";
import { openWindowCache, passCache, passReference } from "../window-pass.js";
import { cutWindows } from "../windows.js";
import { positionRanges } from "./position-groups.js";
import type { SuiteContext } from "./suite-context.js";
import type { SuiteModel } from "./suite-model.js";
import type { SuitePart, SuiteSettings } from "./suite-options.js";
import type { WindowSection } from "./suite-report.js";
import { describeRun, runKey } from "./suite-run.js";
import type { SuiteRun } from "./suite-run.js";
import { summarizeWindows } from "./summarize-windows.js";
import type { UnitKey } from "./unit-store.js";
import { createScoreRecorder, packScores } from "./window-scores.js";
import type { WindowUnit } from "./window-unit.js";

/** Caches scored at once: they share the reference's distributions, and what an interruption loses grows with them. */
const SCORED_TOGETHER = 4;

/** The windows of one length. */
export interface WindowPlan {
  readonly part: SuitePart;
  readonly length: number;
  readonly windows: readonly Int32Array[];
}

/** What the windows parts run on. */
export interface WindowsContext extends SuiteContext {
  readonly store: ReferenceStore | undefined;
  readonly seed: number;
}

/** Windows for each length: as many tokens at every length, at least one window. @throws INVALID_ARGUMENT for a text that does not fill the longest */
export function planWindows(model: SuiteModel, tokens: ArrayLike<number>, { parts, lengths, windows }: SuiteSettings): readonly WindowPlan[] {
  const part = (["perplexity", "kld"] as const).find((name) => parts.includes(name));
  if (part === undefined) return [];
  const bos = windowStart(model.tokenizer);
  return lengths.map((length) => ({ part, length, windows: cutWindows(tokens, { length, count: Math.max(1, Math.floor((windows * lengths[0]!) / length)), bos }) }));
}

/** Runs and summarizes one length. @throws CORRUPT_DATA for NaN in activations; CANCELLED */
export async function runWindows(context: WindowsContext, plan: WindowPlan): Promise<WindowSection> {
  const { model, runs } = context;
  const scorer = createWindowScorer(model);
  const perWindow: WindowUnit[][] = [];
  for (const index of plan.windows.keys()) perWindow.push(await runWindow(context, plan, { index, scorer }));
  return {
    length: plan.length,
    windows: plan.windows.length,
    textFingerprint: fingerprintTokens(plan.windows),
    beginningOfText: windowStart(model.tokenizer) !== undefined,
    rows: runs.map((run, position) =>
      summarizeWindows(run, { windows: plan.windows, units: perWindow.map((units) => units[position]!), ranges: positionRanges(plan.length - 1), seed: context.seed }),
    ),
  };
}

/** One window through all runs: those finished before are read, the others run and are scored in small groups. */
async function runWindow(context: WindowsContext, plan: WindowPlan, { index, scorer }: { index: number; scorer: WindowScorer }): Promise<WindowUnit[]> {
  const { model, runs, units, signal } = context;
  const window = plan.windows[index]!;
  const found = new Array<WindowUnit | undefined>(runs.length);
  const missing: { position: number; run: SuiteRun; unit: { key: UnitKey; part: SuitePart; text: string; tokens: number } }[] = [];
  for (const [position, run] of runs.entries()) {
    const unit = { key: windowKey(model, run, window), part: plan.part, text: `windows of ${plan.length}, ${index + 1} of ${plan.windows.length}: ${describeRun(run)}`, tokens: plan.length };
    found[position] = await units.recall<WindowUnit>(unit);
    if (found[position] === undefined) missing.push({ position, run, unit });
  }
  let reference: ReferenceResult | undefined;
  for (let first = 0; first < missing.length; first += SCORED_TOGETHER) {
    const group = missing.slice(first, first + SCORED_TOGETHER);
    reference ??= await passReference(model, window, { store: context.store, signal, onStep: () => units.step(plan.part, `windows of ${plan.length}: fp16`), onSkip: () => {} });
    const exact = reference;
    const scored = [];
    for (const { run, unit } of group) {
      const pass = await passCache(model, run.cache, { window, tail: run.tail ?? 0, reference: exact, bytesAtTokens: undefined, signal, onStep: () => units.step(plan.part, unit.text) });
      const own = { ...pass, scores: createScoreRecorder(window.length - 1), seconds: pass.seconds };
      scored.push({ hidden: own.hidden, scores: own.scores, onSeconds: (seconds: number) => void (run.tail !== undefined && (own.seconds += seconds)), own });
    }
    await scorer.score(window, exact.hidden, scored, () => throwIfCancelled(signal, "suite"));
    for (const [place, { position, unit }] of group.entries()) {
      const { own } = scored[place]!;
      found[position] = await units.finish<WindowUnit>(unit, { scores: packScores(own.scores.scores), measurement: own.measurement, seconds: own.seconds });
    }
  }
  return found as WindowUnit[];
}

function windowKey(model: SuiteModel, run: SuiteRun, window: Int32Array): UnitKey {
  const cache = openWindowCache(model, run.cache, run.tail ?? 0);
  try {
    return { part: "windows", ...runKey(model, run, cache.backends()), window: fingerprintTokens([window]) };
  } finally {
    cache.dispose();
  }
}
