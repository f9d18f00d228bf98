/** Prices of a model's calibration, found with native codecs where there are any; and plans named `kvq:<bits>`. */

import { backendInfo, explainNativeCodec, openNativeCodec } from "@kvquant/cpu";
import { defaultPlanOptions, makeArtifact, planPreset, priceCalibration, smoothPrices, solvePlan } from "@kvquant/eval";
import type { Calibration, Plan, PlanInput } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";
import { calibrationFolder } from "./kept-calibration.js";
import type { Preparation } from "./preparation.js";

/** Length that bytes are stated for, and what is exact in it. */
export type PlanLength = PlanInput["length"];

/** Everything a plan of this model and calibration is solved from; prices are kept beside the calibration. */
export async function pricePlan(model: LanguageModel, options: { readonly calibration: Calibration; readonly length: PlanLength; readonly context: Preparation }): Promise<PlanInput> {
  const { calibration, length, context } = options;
  const native = backendInfo().available;
  const { prices } = await context.progress.run(
    `pricing ${model.name}`,
    (update) =>
      priceCalibration(model, calibration, {
        options: defaultPlanOptions(),
        openCodec: (artifact, { quantizer }) => (native && explainNativeCodec(artifact) === undefined ? openNativeCodec(artifact) : quantizer.open(artifact)),
        folder: calibrationFolder(),
        signal: context.signal,
        onNotice: (message) => context.progress.note(message),
        onProgress: ({ done, total, layer }) => update(done / total, `layer ${layer}`),
      }),
    ({ fromCache }) => (fromCache ? "kept from earlier" : "done, kept for next time"),
  );
  return { prices: smoothPrices(prices), shape: calibration.statistics.shape, length };
}

/** Fits a plan, named after its bits, such as `kvq:3.00`. */
export function fitPlan(model: LanguageModel, plan: Plan, calibration: Calibration): KvqArtifact {
  const artifact = makeArtifact(model, planPreset(`kvq:${plan.bitsPerValue.toFixed(2)}`, plan, defaultPlanOptions()), calibration);
  const { tensors, bitsPerValue, predictedKld } = plan;
  const options = artifact.layers.map((_, layer) => ({ key: tensors[2 * layer]!.option, value: tensors[2 * layer + 1]!.option }));
  return { ...artifact, plan: { bitsPerValue, predictedKld, options } };
}

/** The artifact of `kvq:<bits>`: the least harmful plan within that many true bits a value. */
export async function fitPlannedBits(model: LanguageModel, bits: number, options: { readonly calibration: Calibration; readonly context: Preparation }): Promise<KvqArtifact> {
  const { sinkTokens } = options.calibration.statistics;
  const input = await pricePlan(model, { ...options, length: { tokens: model.config.contextLength, tailTokens: 64, sinkTokens } });
  return fitPlan(model, solvePlan(input, { bits }), options.calibration);
}
