/** What a planner may choose for one layer's keys or values. */

import { channelKeys, pageKeys, rotatedValues, tokenValues } from "@kvquant/quant";
import type { CodeBits, Quantizer } from "@kvquant/quant";
import type { Side } from "@kvquant/spec";

/** One way to store the keys or the values of a layer. */
export interface PlanOption {
  /** Unique among the options of its side, such as `page:3` or `channel-1%:2`; stable, because kept prices are found by it. */
  readonly id: string;
  readonly side: Side;
  readonly bits: CodeBits;
  readonly quantizer: Quantizer;
}

const WIDTHS = [2, 3, 4, 5] as const;

/**
 * The options that the native kernels run, 2 to 5 bits each. Keys, all with feedback rounding: `channel`, `channel-0.5%`, `channel-1%` (offline
 * ranges, learned levels, outliers), `page` and `page-uniform` (page-local scales with learned or even levels). Values: `rotated`
 * (unbiased levels), `token` and `token-1%` (a scale and a zero point a token, learned levels). One bit is left out: no quantizer of it keeps a model usable.
 */
export function defaultPlanOptions(): PlanOption[] {
  return WIDTHS.flatMap((bits): PlanOption[] => [
    ...[0, 0.005, 0.01].map((outliers) => option(`channel${percent(outliers)}`, bits, channelKeys({ bits, outliers, feedback: true }))),
    option("page", bits, pageKeys({ bits, levels: "learned" })),
    option("page-uniform", bits, pageKeys({ bits })),
    option("rotated", bits, rotatedValues({ bits, levels: "unbiased" })),
    ...[0, 0.01].map((outliers) => option(`token${percent(outliers)}`, bits, tokenValues({ bits, outliers }))),
  ]);
}

function option(name: string, bits: CodeBits, quantizer: Quantizer): PlanOption {
  return { id: `${name}:${bits}`, side: quantizer.side, bits, quantizer };
}

function percent(outliers: number): string {
  return outliers === 0 ? "" : `-${outliers * 100}%`;
}
