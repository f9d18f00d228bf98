/** Solves for a plan, runs it, and tightens the bound where the run says more than the prediction. */

import { KvquantError, check, checkInteger } from "@kvquant/spec";
import { solvePlan } from "./plan.js";
import type { Plan, PlanBounds, PlanInput } from "./plan.js";

/** One plan that was run. */
export interface PlanRound {
  readonly plan: Plan;
  /** KL divergence in nats a token, no tail. */
  readonly measuredKld: number;
}

/** How a plan is verified. */
export interface VerifyOptions {
  /** Runs a plan and returns its KL divergence without tail. */
  readonly measure: (plan: Plan) => Promise<number>;
  /** Runs at most. Default 4. */
  readonly rounds?: number | undefined;
  /** Told of each run. */
  readonly onRound?: ((round: PlanRound) => void) | undefined;
}

/** The next bound stays this share below what the last ratio of measured to predicted asks for. */
const MARGIN = 0.97;

/**
 * The plan for the bounds, as run. Where `maxKld` is not met by the run, the bound on the prediction is scaled by the ratio and the plan solved again.
 * Returns all rounds; the last one is the plan.
 * @throws INVALID_ARGUMENT for bounds that no plan keeps, or none found within the rounds, with the nearest figures; for a run that measures no number
 */
export async function verifyPlan(input: PlanInput, bounds: PlanBounds, { measure, rounds = 4, onRound }: VerifyOptions): Promise<[PlanRound, ...PlanRound[]]> {
  checkInteger("rounds", rounds, { minimum: 1 });
  const { maxKld } = bounds;
  const run = async (plan: Plan): Promise<PlanRound> => {
    const measuredKld = await measure(plan);
    check(!Number.isNaN(measuredKld), "measured KL divergence", "nats a token", measuredKld); // NaN would pass for a bound that is met
    const round = { plan, measuredKld };
    onRound?.(round);
    return round;
  };
  const first = await run(solvePlan(input, bounds));
  const done: [PlanRound, ...PlanRound[]] = [first];
  let last = first;
  while (maxKld !== undefined && last.measuredKld > maxKld) {
    if (done.length === rounds) throw notMet(maxKld, done);
    const predicted = MARGIN * last.plan.predictedKld * (maxKld / last.measuredKld);
    last = await run(tightenPlan(input, { ...bounds, maxKld: predicted }, { maxKld, done }));
    done.push(last);
  }
  return done;
}

function tightenPlan(input: PlanInput, bounds: PlanBounds, { maxKld, done }: { maxKld: number; done: readonly PlanRound[] }): Plan {
  try {
    return solvePlan(input, bounds);
  } catch (error) {
    if (KvquantError.isInstance(error) && error.code === "INVALID_ARGUMENT") throw notMet(maxKld, done, error);
    throw error;
  }
}

function notMet(maxKld: number, done: readonly PlanRound[], cause?: KvquantError): KvquantError {
  const runs = done.map(({ plan, measuredKld }) => `${plan.bitsPerValue.toFixed(3)} bits a value: ${measuredKld.toPrecision(3)} (predicted ${plan.predictedKld.toPrecision(3)})`).join(", ");
  const reason = cause === undefined ? "" : `; the next one: ${cause.message}`;
  return new KvquantError("INVALID_ARGUMENT", `plan: expected a KL divergence that some plan is measured under, got ${maxKld}; measured ${runs}${reason}`, { cause });
}
