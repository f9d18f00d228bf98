/** Plans: which option each layer's keys and values get, under a bound. */

import type { CachePreset } from "@kvquant/quant";
import { KvquantError, check } from "@kvquant/spec";
import type { CacheShape, Side } from "@kvquant/spec";
import { cacheBytesOf } from "../cache-bytes-at.js";
import type { CacheBytesOptions } from "../cache-bytes-at.js";
import { bestWithin, cheapestUnder, paretoFront } from "./assign-options.js";
import type { Assignment } from "./assign-options.js";
import type { Tradeoff } from "./lower-hull.js";
import type { PlanOption } from "./plan-option.js";
import type { Price } from "./price-options.js";

/** What a plan is made from. */
export interface PlanInput {
  readonly prices: readonly Price[];
  readonly shape: CacheShape;
  /** The length whose bytes are stated and bounded; sinks and tail are counted. */
  readonly length: CacheBytesOptions;
}

/** What a plan must keep to. At least one; `maxKld` asks for the cheapest plan, the others for the least harmful. */
export interface PlanBounds {
  /** Predicted KL divergence in nats a token, no tail. */
  readonly maxKld?: number | undefined;
  /** Mean true bits a value of closed pages. */
  readonly bits?: number | undefined;
  /** Bytes of the whole cache at `length`. */
  readonly memoryBytes?: number | undefined;
}

/** The option of one tensor. */
export interface PlannedTensor {
  readonly layer: number;
  readonly side: Side;
  readonly option: string;
  /** True bits a value. */
  readonly bits: number;
  /** Predicted KL divergence that it adds. */
  readonly damage: number;
}

/** What a plan comes to. */
export interface PlanFigures {
  /** True bits a value, mean of keys and values of all layers. */
  readonly bitsPerValue: number;
  /** In nats a token, no tail. */
  readonly predictedKld: number;
  /** Bytes of the whole cache at the length asked for. */
  readonly cacheBytes: number;
}

/** A plan. */
export interface Plan extends PlanFigures {
  /** Layer after layer, keys before values. */
  readonly tensors: readonly PlannedTensor[];
}

/**
 * Solves for the bounds: the cheapest plan whose predicted KL divergence is at most `maxKld`, or the least harmful plan within bits and memory.
 * With both kinds the cheapest plan must also lie within bits and memory. Optimal on the Pareto front, else within one of its steps.
 * @throws INVALID_ARGUMENT for no bound, or bounds that no plan keeps, with the nearest figures that one does
 */
export function solvePlan(input: PlanInput, bounds: PlanBounds): Plan {
  const { maxKld, bits, memoryBytes } = bounds;
  check(maxKld !== undefined || bits !== undefined || memoryBytes !== undefined, "plan bounds", "a KL divergence, bits or memory", "none");
  for (const [name, bound] of Object.entries(bounds)) check(bound === undefined || (Number.isFinite(bound) && bound > 0), `plan ${name}`, "a number above 0", bound);
  if (maxKld !== undefined) {
    const plan = cheapestPlan(input, maxKld);
    if (exceeds(plan, bounds)) refuseBoth(input, bounds, plan);
    return plan;
  }
  const plans = [...(bits === undefined ? [] : [planOfBits(input, bits)]), ...(memoryBytes === undefined ? [] : [planOfMemory(input, memoryBytes)])];
  const within = plans.filter((plan) => !exceeds(plan, bounds)).sort((a, b) => a.predictedKld - b.predictedKld);
  if (within[0] === undefined) throw infeasible("bounds that one plan keeps", `${bits} bits within ${memoryBytes} bytes`, plans.map(describeFigures).join("; "));
  return within[0];
}

/** Whether a plan breaks a bound by more than rounding: sums are taken in another order than the solver's, and bytes are rounded to whole ones. */
function exceeds(plan: Plan, { bits, memoryBytes }: PlanBounds): boolean {
  return (bits !== undefined && plan.bitsPerValue > bits * (1 + 1e-9)) || (memoryBytes !== undefined && plan.cacheBytes > memoryBytes + 0.5);
}

/** Plans on the common lower hull of (bits, predicted divergence), from the fewest bits on; neighbours differ in one tensor. */
export function planFront(input: PlanInput): PlanFigures[] {
  return paretoFront(candidates(input, bitsOf)).map((assignment) => {
    const { bitsPerValue, predictedKld, cacheBytes } = finishPlan(input, assignment);
    return { bitsPerValue, predictedKld, cacheBytes };
  });
}

/**
 * A plan as a preset of per-layer quantizers, for `makeArtifact`.
 * @throws INVALID_ARGUMENT for an option that is not among `options`
 */
export function planPreset(id: string, plan: Plan, options: readonly PlanOption[]): CachePreset {
  const quantizer = (layer: number, side: Side): PlanOption["quantizer"] => {
    const name = plan.tensors.find((tensor) => tensor.layer === layer && tensor.side === side)?.option;
    const found = options.find((option) => option.side === side && option.id === name);
    check(found !== undefined, `plan: ${side}s of layer ${layer}`, `one of ${options.map((option) => option.id).join(", ")}`, name);
    return found.quantizer;
  };
  const layers = Array.from({ length: plan.tensors.length / 2 }, (_, layer) => ({ key: quantizer(layer, "key"), value: quantizer(layer, "value") }));
  return { id, ...layers[0]!, layers };
}

interface Candidate extends Tradeoff {
  readonly price: Price;
}

/** Share of the mean bits a value: keys and values of all layers have equally many values. */
function bitsOf(price: Price, { shape }: PlanInput): number {
  return price.bitsPerValue / (2 * shape.layers);
}

/** Bytes that grow with the option: closed pages and tables. */
function bytesOf(price: Price, { shape, length }: PlanInput): number {
  const bytes = (pageBytes: number): number => cacheBytesOf({ shape, pageBytes: [pageBytes], tableBytes: 0 }, length);
  const closedPages = bytes(1) - bytes(0);
  return closedPages * price.pageBytes + price.tableBytes;
}

/** The options of each tensor, layer after layer, keys before values. */
function candidates(input: PlanInput, cost: (price: Price, input: PlanInput) => number): Candidate[][] {
  const tensors = Array.from({ length: 2 * input.shape.layers }, (): Candidate[] => []);
  for (const price of input.prices) tensors[2 * price.layer + (price.side === "key" ? 0 : 1)]?.push({ price, cost: cost(price, input), damage: price.damage });
  tensors.forEach((own, index) => check(own.length > 0, "prices", `one for each layer and side of ${input.shape.layers} layers`, `none for ${index % 2 === 0 ? "keys" : "values"} of layer ${index >> 1}`));
  return tensors;
}

function cheapestPlan(input: PlanInput, maxKld: number): Plan {
  const tensors = candidates(input, bitsOf);
  const found = cheapestUnder(tensors, maxKld);
  if (found !== undefined) return finishPlan(input, found);
  const best = finishPlan(input, paretoFront(tensors).at(-1)!);
  throw infeasible(`a KL divergence that some plan reaches`, `${maxKld}`, `the least harmful plan is predicted at ${describeFigures(best)}`);
}

function planOfBits(input: PlanInput, bits: number): Plan {
  const tensors = candidates(input, bitsOf);
  const found = bestWithin(tensors, bits);
  if (found !== undefined) return finishPlan(input, found);
  throw infeasible("bits that some plan keeps to", `${bits}`, `the smallest plan has ${describeFigures(finishPlan(input, paretoFront(tensors)[0]!))}`);
}

function planOfMemory(input: PlanInput, memoryBytes: number): Plan {
  const { shape, length } = input;
  const fixed = cacheBytesOf({ shape, pageBytes: new Array<number>(shape.layers).fill(0), tableBytes: 0 }, length);
  const tensors = candidates(input, bytesOf);
  const found = bestWithin(tensors, memoryBytes - fixed);
  if (found !== undefined) return finishPlan(input, found);
  throw infeasible("memory that some plan keeps to", `${memoryBytes} bytes`, `at ${length.tokens} tokens the smallest plan takes ${describeFigures(finishPlan(input, paretoFront(tensors)[0]!))}`);
}

function finishPlan({ shape, length }: PlanInput, { chosen }: Assignment<Candidate>): Plan {
  const pageBytes = new Array<number>(shape.layers).fill(0);
  let tableBytes = 0;
  let bits = 0;
  let predictedKld = 0;
  const tensors = chosen.map(({ price }): PlannedTensor => {
    const { layer, side, option, bitsPerValue, damage } = price;
    pageBytes[layer]! += price.pageBytes;
    tableBytes += price.tableBytes;
    bits += bitsPerValue;
    predictedKld += damage;
    return { layer, side, option, bits: bitsPerValue, damage };
  });
  return { tensors, bitsPerValue: bits / chosen.length, predictedKld, cacheBytes: cacheBytesOf({ shape, pageBytes, tableBytes }, length) };
}

function refuseBoth(input: PlanInput, { bits, memoryBytes, maxKld }: PlanBounds, cheapest: Plan): never {
  const rest = solvePlan(input, { bits, memoryBytes });
  const asked = [bits === undefined ? [] : [`${bits} bits`], memoryBytes === undefined ? [] : [`${memoryBytes} bytes`]].flat().join(" and ");
  throw infeasible("bounds that one plan keeps", `KL divergence ${maxKld} within ${asked}`, `the cheapest plan under that divergence has ${describeFigures(cheapest)}; the best within ${asked} has ${describeFigures(rest)}`);
}

function infeasible(expected: string, got: string, nearest: string): KvquantError {
  return new KvquantError("INVALID_ARGUMENT", `plan: expected ${expected}, got ${got}; ${nearest}`);
}

function describeFigures({ bitsPerValue, predictedKld, cacheBytes }: PlanFigures): string {
  return `${bitsPerValue.toFixed(3)} bits a value, KL divergence ${predictedKld.toPrecision(3)}, ${cacheBytes} bytes`;
}
