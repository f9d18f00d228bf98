/** Chooses one option for each tensor: greedy over the slopes of the tensors' lower hulls. */

import { lowerHull, slope } from "./lower-hull.js";
import type { Tradeoff } from "./lower-hull.js";

/** One option of each tensor, in the order of the tensors. */
export interface Assignment<Option extends Tradeoff> {
  readonly chosen: readonly Option[];
  /** Sum over the tensors. */
  readonly cost: number;
  readonly damage: number;
}

/**
 * All assignments on the common lower hull, from the cheapest to the least harmful: no other assignment has less damage for the same
 * cost or less. Neighbours differ in one tensor.
 */
export function paretoFront<Option extends Tradeoff>(tensors: readonly (readonly Option[])[]): Assignment<Option>[] {
  const { start, steps } = hullSteps(tensors);
  const front = [start];
  for (const step of steps) front.push(replace(front.at(-1)!, step));
  return front;
}

/**
 * The assignment of least damage that costs at most `bound`, up to the last step of the greedy path: steps that no longer fit are left out, and
 * smaller ones of other tensors taken instead. Undefined when even the cheapest costs more.
 */
export function bestWithin<Option extends Tradeoff>(tensors: readonly (readonly Option[])[], bound: number): Assignment<Option> | undefined {
  const { start, steps } = hullSteps(tensors);
  if (start.cost > bound) return undefined;
  let best = start;
  const ended = new Set<number>();
  for (const step of steps) {
    if (ended.has(step.tensor)) continue;
    const next = replace(best, step);
    if (next.cost <= bound) best = next;
    else ended.add(step.tensor);
  }
  return best;
}

/**
 * The cheapest assignment with damage of at most `bound`, up to one step of the greedy path: what the last step gained beyond the bound
 * is used to take steps back. Undefined when even the least harmful harms more.
 */
export function cheapestUnder<Option extends Tradeoff>(tensors: readonly (readonly Option[])[], bound: number): Assignment<Option> | undefined {
  const { start, steps } = hullSteps(tensors);
  let best = start;
  let taken = 0;
  while (best.damage > bound) {
    const step = steps[taken++];
    if (step === undefined) return undefined;
    best = replace(best, step);
  }
  const ended = new Set<number>();
  for (const step of steps.slice(0, taken).reverse()) {
    if (ended.has(step.tensor)) continue;
    const next = replace(best, { tensor: step.tensor, to: step.from });
    if (next.damage <= bound) best = next;
    else ended.add(step.tensor);
  }
  return best;
}

/** From one option of a tensor to the next on its hull. */
interface Step<Option> {
  readonly tensor: number;
  readonly from: Option;
  readonly to: Option;
}

/** The cheapest assignment, and the steps from it, steepest first; those of one tensor are in order, for its hull is convex. */
function hullSteps<Option extends Tradeoff>(tensors: readonly (readonly Option[])[]): { start: Assignment<Option>; steps: Step<Option>[] } {
  const hulls = tensors.map((options) => lowerHull(options));
  const steps = hulls.flatMap((hull, tensor) => hull.slice(1).map((to, index) => ({ tensor, from: hull[index]!, to })));
  steps.sort((a, b) => slope(a.from, a.to) - slope(b.from, b.to));
  return { start: total(hulls.map((hull) => hull[0]!)), steps };
}

function replace<Option extends Tradeoff>({ chosen }: Assignment<Option>, { tensor, to }: Pick<Step<Option>, "tensor" | "to">): Assignment<Option> {
  return total(chosen.with(tensor, to));
}

/** Summed afresh each time, so that rounding errors do not gather along a path. */
function total<Option extends Tradeoff>(chosen: readonly Option[]): Assignment<Option> {
  let cost = 0;
  let damage = 0;
  for (const option of chosen) {
    cost += option.cost;
    damage += option.damage;
  }
  return { chosen, cost, damage };
}
