/** `--sinks auto`: the number of sink tokens from the model's own attention. */

import { readTokens } from "@kvquant/artifacts";
import { findSinks } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import type { Context } from "./context.js";

const longest = 1024;

/** Looks for sinks in two windows of the calibration text and says what it found. */
export async function findModelSinks(model: LanguageModel, options: { readonly data?: string | undefined; readonly dataOption: string; readonly context: Context }): Promise<number> {
  const { context } = options;
  const tokens = await readTokens(model, options.data, options.dataOption);
  const length = Math.min(longest, model.config.contextLength, Math.max(128, Math.floor(tokens.length / 2)));
  const found = await context.progress.run(
    `looking for attention sinks of ${model.name}`,
    (update) => findSinks(model, { tokens, length, signal: context.signal, onProgress: (done, total) => update(done / total) }),
    ({ sinkTokens, shares }) => `${sinkTokens} at the beginning; position 0 receives ${percent(shares[0]!)} of all attention, position ${sinkTokens} ${percent(shares[sinkTokens]!)}`,
  );
  const [stray] = found.strays;
  if (stray !== undefined) context.progress.note(`attention also gathers elsewhere: ${JSON.stringify(model.tokenizer.decode([stray.token]))} at position ${stray.position} receives ${percent(stray.share)}; only tokens at the beginning are kept exact`);
  return found.sinkTokens;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
