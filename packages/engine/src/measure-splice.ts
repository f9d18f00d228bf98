/** What a splice changes: the model's predictions behind a moved document against those behind one that was computed in place. */

import type { KvCache } from "@kvquant/cache";
import { klDivergence } from "@kvquant/eval/metrics";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";
import { check } from "@kvquant/spec";

import { createCacheCost } from "./cache-cost.js";
import { createPrefixChain } from "./prefix-chain.js";
import { encodeProbePages } from "./probe-pages.js";
import { createResumePoints } from "./resume-points.js";
import { planSplice, splicePages } from "./splice-pages.js";

/** A document behind a prefix, and the tokens whose predictions are compared. */
export interface SpliceCase {
  readonly model: LanguageModel;
  readonly artifact: KvqArtifact;
  readonly tailTokens?: number;
  readonly prefix: readonly number[];
  readonly document: readonly number[];
  /** Follows the document; one prediction a token. */
  readonly question: readonly number[];
}

/** Kullback-Leibler divergence in nats between predictions after each token of the question. */
export interface SpliceComparison {
  readonly kldMean: number;
  readonly kldMax: number;
  /** Share of positions with the same most likely token. */
  readonly top1: number;
}

/** The effect of a splice, and what to hold it against. */
export interface SpliceEffect {
  readonly positions: number;
  readonly splicedTokens: number;
  /** Recomputation in the same cache against the splice. */
  readonly splice: SpliceComparison;
  /** fp16 against recomputation: what compression alone does. */
  readonly compression: SpliceComparison;
  /** Recomputation against leaving the document out: what it is worth. */
  readonly withoutDocument: SpliceComparison;
}

/** Runs one case four ways. @throws INVALID_ARGUMENT when no page of the document can be moved; UNSUPPORTED for a cache that takes no pages */
export async function measureSplice({ model, artifact, tailTokens = 64, prefix, document, question }: SpliceCase): Promise<SpliceEffect> {
  const sinkTokens = artifact.sinkTokens;
  const chain = createPrefixChain("measureSplice", sinkTokens);
  const cost = createCacheCost({ shape: model.shape, layers: artifact.layers, probe: encodeProbePages(artifact, undefined), sinkTokens, tailTokens });
  const make = (kind: KvqArtifact | "fp16" = artifact): KvCache => model.createCache({ artifact: kind, tailTokens });
  const prompt = [...prefix, ...document, ...question];
  /** Log-probabilities after each token of the question, of a cache that holds `from` of the prompt's tokens. */
  const score = async (cache: KvCache, tokens: readonly number[]): Promise<Float32Array> => {
    const hidden = await model.forward(tokens, cache);
    const rows = question.length;
    return (await model.logProbabilities(hidden.subarray(hidden.length - rows * model.config.width), rows)).slice();
  };
  using empty = make();
  const points = createResumePoints(chain, empty);
  try {
    const cached = make();
    await model.forward([...document, ...question], cached);
    const tokens = [...document, ...question];
    points.add({ tokens, links: chain.extend([], tokens), cache: cached, canonical: tokens.length, scope: undefined }, { parent: undefined });
    const plan = planSplice(points.all(), { document, at: prefix.length, promptTokens: prompt.length - question.length }, { chain, cost, tailTokens });
    check(plan !== undefined, "measureSplice: document", "one long enough for a page to be moved", `${document.length} tokens`);
    using moved = make();
    await model.forward(prompt.slice(0, plan.after), moved);
    splicePages(moved, plan);
    const splicedTokens = moved.length - plan.first;
    using computed = make();
    using exact = make("fp16");
    using without = make();
    const spliced = await score(moved, prompt.slice(moved.length));
    const recomputed = await score(computed, prompt);
    const compare = (p: Float32Array, q: Float32Array): SpliceComparison => compareRows(p, q, model.config.vocabulary);
    return {
      positions: question.length,
      splicedTokens,
      splice: compare(recomputed, spliced),
      compression: compare(await score(exact, prompt), recomputed),
      withoutDocument: compare(recomputed, await score(without, [...prefix, ...question])),
    };
  } finally {
    points.dispose();
  }
}

function compareRows(p: Float32Array, q: Float32Array, vocabulary: number): SpliceComparison {
  const rows = p.length / vocabulary;
  let sum = 0;
  let kldMax = 0;
  let same = 0;
  for (let row = 0; row < rows; row++) {
    const kld = klDivergence(p, q, row * vocabulary, vocabulary);
    sum += kld;
    kldMax = Math.max(kldMax, kld);
    if (likeliest(p, row, vocabulary) === likeliest(q, row, vocabulary)) same++;
  }
  return { kldMean: sum / rows, kldMax, top1: same / rows };
}

function likeliest(values: Float32Array, row: number, count: number): number {
  let best = 0;
  for (let index = 1; index < count; index++) if (values[row * count + index]! > values[row * count + best]!) best = index;
  return best;
}
