/** A model whose caches know the user's quantizers. */

import type { EvaluationModel } from "@kvquant/eval";
import type { Quantizer } from "@kvquant/quant";

/** What evaluation needs of `model`, with `quantizers` handed to every cache. */
export function withQuantizers(model: EvaluationModel, quantizers: readonly Quantizer[]): EvaluationModel {
  return {
    name: model.name,
    engine: model.engine,
    fingerprint: model.fingerprint,
    config: model.config,
    tokenizer: model.tokenizer,
    createCache: (options) => model.createCache({ ...options, quantizers: [...quantizers, ...(options.quantizers ?? [])] }),
    forward: (tokens, cache, options) => model.forward(tokens, cache, options),
    logProbabilities: (hidden, rows) => model.logProbabilities(hidden, rows),
  };
}
