/** Runs the conformance suite of @kvquant/quant: it says in words which law a quantizer breaks. */

import test from "node:test";
import { quantizerKit } from "@kvquant/quant";
import { assertLaws, makePage, makeStatistics } from "@kvquant/quant/testing";
import make from "./quantizer.mjs";

for (const headDim of [64, 128]) {
  const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim };
  const [statistics] = makeStatistics({ shape }).layers;
  const page = makePage(shape);
  const { key, value } = make(quantizerKit);

  test(`keys of mean-residual keep every law on head dim ${headDim}`, () => assertLaws({ quantizer: key, statistics, page: page.k, nmse: 0.06 }));
  test(`values of mean-residual keep every law on head dim ${headDim}`, () => assertLaws({ quantizer: value, statistics, page: page.v, nmse: 0.06 }));
}
