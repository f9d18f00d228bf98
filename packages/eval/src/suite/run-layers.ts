/** The layers part: how far each cache's pages are from the keys and values they hold, layer by layer. */

import type { LayerAttention } from "@kvquant/model";
import { openArtifact } from "@kvquant/quant";
import type { LayerCodecs } from "@kvquant/quant";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, Matrix } from "@kvquant/spec";
import { fingerprintTokens } from "../fingerprint-tokens.js";
import type { SuiteContext } from "./suite-context.js";
import type { SuiteModel } from "./suite-model.js";
import type { LayerRow } from "./suite-report.js";
import type { SuiteRun } from "./suite-run.js";
import type { UnitKey } from "./unit-store.js";

type LayerErrors = LayerRow["layers"][number];

/**
 * Relative squared errors of every compressed cache's pages on one window of keys and values that the fp32 reference engine computes. One
 * row a cache: a tail decides which queries see a page, not what is in it. Errors here are of each layer alone, on exact input.
 * @throws UNSUPPORTED for a quantizer that is not known; CANCELLED
 */
export async function runLayers({ model, runs, units, signal }: SuiteContext, window: Int32Array): Promise<readonly LayerRow[]> {
  const caches = runs.filter((run, index) => run.tail !== undefined && runs.findIndex(({ cache }) => cache === run.cache) === index);
  const found = new Map<SuiteRun, readonly LayerErrors[]>();
  const missing = new Map<SuiteRun, { codecs: readonly LayerCodecs[]; sinkTokens: number; errors: LayerErrors[] }>();
  const unitOf = (run: SuiteRun) => ({ key: layersKey(model, run, window), part: "layers" as const, text: `pages by layer: ${run.cache.name}`, tokens: window.length });
  for (const run of caches) {
    const { artifact, quantizers } = run.cache;
    const stored = await units.recall<readonly LayerErrors[]>(unitOf(run));
    if (stored !== undefined) found.set(run, stored);
    else if (artifact !== "fp16") missing.set(run, { codecs: openArtifact(artifact, quantizers), sinkTokens: artifact.sinkTokens, errors: [] });
  }
  if (missing.size > 0) {
    await model.captureAttention(window, {
      signal,
      onLayer(layer) {
        for (const own of missing.values()) own.errors.push(measureLayer(own.codecs[layer.layer]!, layer, own.sinkTokens));
        units.step("layers", `pages by layer, ${layer.layer + 1} of ${model.config.layers}`);
      },
    });
  }
  for (const [run, { errors }] of missing) found.set(run, await units.finish(unitOf(run), errors));
  return caches.map((run) => ({ cache: run.cache.name, layers: found.get(run)! }));
}

function layersKey(model: SuiteModel, { artifactHash }: SuiteRun, window: Int32Array): UnitKey {
  // Nothing here depends on the engine or the tail.
  return { part: "layers", model: model.fingerprint, cache: artifactHash, window: fingerprintTokens([window]) };
}

/** Errors of one layer's full pages. Keys quantized after RoPE are not measured: what is captured is before it. */
export function measureLayer({ key, value, keyFrame }: LayerCodecs, { k, v }: Pick<LayerAttention, "k" | "v">, sinkTokens: number): LayerErrors {
  return { key: keyFrame === "pre-rope" ? relativeError(key, k, sinkTokens) : undefined, value: relativeError(value, v, sinkTokens) };
}

/** sum |x - decoded|^2 / sum |x|^2 over the full pages after the sinks. */
function relativeError(codec: BlockCodec, x: Matrix, sinkTokens: number): number {
  const decoded = new Float32Array(PAGE_TOKENS * x.cols);
  let error = 0;
  let energy = 0;
  for (let start = sinkTokens; start + PAGE_TOKENS <= x.rows; start += PAGE_TOKENS) {
    const page = x.data.slice(start * x.cols, (start + PAGE_TOKENS) * x.cols);
    codec.decode(codec.encode({ data: page, rows: PAGE_TOKENS, cols: x.cols }), { data: decoded, rows: PAGE_TOKENS, cols: x.cols });
    for (let index = 0; index < page.length; index++) {
      error += (page[index]! - decoded[index]!) ** 2;
      energy += page[index]! ** 2;
    }
  }
  return energy === 0 ? 0 : error / energy;
}
