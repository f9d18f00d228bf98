/** What evaluation needs of a language model; `LanguageModel` of @kvquant/model is one. */

import type { LanguageModel } from "@kvquant/model";

/** The part of a model that runs over caches and scores. */
export type EvaluationModel = Pick<
  LanguageModel,
  "name" | "engine" | "fingerprint" | "config" | "createCache" | "forward" | "logProbabilities"
> & { readonly tokenizer: BeginningOfText };

/** The part of a tokenizer that windows depend on. */
export type BeginningOfText = Pick<LanguageModel["tokenizer"], "bos" | "addBos">;

/** The part of a model that calibration runs on. */
export type CalibrationModel = Pick<LanguageModel, "name" | "fingerprint" | "config" | "gradients" | "captureAttention"> & {
  readonly tokenizer: BeginningOfText;
};

/** The token windows start with, or undefined for tokenizers that add none. */
export function windowStart(tokenizer: BeginningOfText): number | undefined {
  return tokenizer.addBos ? tokenizer.bos : undefined;
}
