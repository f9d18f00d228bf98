/** What the fidelity suite needs of a language model; `LanguageModel` of @kvquant/model is one. */

import type { LanguageModel } from "@kvquant/model";
import type { EvaluationModel } from "../evaluation-model.js";

/** A model that scores, generates and shows the keys and values of its layers. */
export type SuiteModel = Omit<EvaluationModel, "tokenizer"> &
  Pick<LanguageModel, "captureAttention"> & {
    readonly tokenizer: Pick<LanguageModel["tokenizer"], "bos" | "addBos" | "eos" | "encode" | "decode">;
  };
