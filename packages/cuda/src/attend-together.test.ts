import { describe, expect, it } from "vitest";

import { KvquantError } from "@kvquant/spec";

import type { AddonAttend } from "./addon.js";
import { attendTogether } from "./attend-together.js";

// The addon's calls are opaque to it: numbers stand for them.
const callOf = (index: number): AddonAttend => ({ first: index }) as AddonAttend;
const nativeError = (message: string): Error => Object.assign(new Error(message), { code: "CORRUPT_DATA" });

/** An addon that is answered by hand, and the batches it was given. */
function recorder(): { batches: number[][]; settle: ((outcomes: (Error | undefined)[]) => void)[]; attend: Parameters<typeof attendTogether>[0] } {
  const batches: number[][] = [];
  const settle: ((outcomes: (Error | undefined)[]) => void)[] = [];
  return { batches, settle, attend: (calls) => new Promise((resolve) => void (batches.push(calls.map(({ first }) => first)), settle.push(resolve))) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("calls that attend together", () => {
  it("are one batch when they are made in the same turn, in order, and another one in the next, even while the first runs", async () => {
    const { batches, settle, attend } = recorder();
    const one = attendTogether(attend);
    const first = Promise.all([0, 1, 2].map((index) => one(callOf(index))));
    expect(batches).toEqual([]);
    await turn();
    const second = Promise.all([3, 4].map((index) => one(callOf(index))));
    await turn();
    expect(batches).toEqual([[0, 1, 2], [3, 4]]);
    settle[1]!([undefined, undefined]);
    await second;
    settle[0]!([undefined, undefined, undefined]);
    await first;
    const alone = one(callOf(5));
    await turn();
    settle[2]!([undefined]);
    await alone;
    expect(batches[2]).toEqual([5]);
  });

  it("are settled one by one: an error is that of its call, with its code", async () => {
    const one = attendTogether(async (calls) => calls.map(({ first }) => (first === 1 ? nativeError("page 7") : undefined)));
    const outcomes = await Promise.allSettled([0, 1, 2].map((index) => one(callOf(index))));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const { reason } = outcomes[1] as PromiseRejectedResult;
    expect(KvquantError.isInstance(reason)).toBe(true);
    expect(reason).toMatchObject({ code: "CORRUPT_DATA", message: "page 7" });
  });

  it("are all rejected when the addon refuses the batch, at once or later, and the next batch starts anew", async () => {
    for (const refuse of [async () => Promise.reject(nativeError("later")), () => { throw nativeError("at once"); }]) {
      let refused = true;
      const one = attendTogether((calls) => (refused ? refuse() : Promise.resolve(calls.map(() => undefined))));
      const outcomes = await Promise.allSettled([one(callOf(0)), one(callOf(1))]);
      for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "CORRUPT_DATA" } });
      refused = false;
      await expect(one(callOf(2))).resolves.toBeUndefined();
    }
  });

  it("of two layers are in batches of their own", async () => {
    const layers = [recorder(), recorder()];
    const attends = layers.map(({ attend }) => attendTogether(attend));
    const calls = Promise.all([attends[0]!(callOf(0)), attends[1]!(callOf(1)), attends[0]!(callOf(2))]);
    await turn();
    expect(layers.map(({ batches }) => batches)).toEqual([[[0, 2]], [[1]]]);
    for (const { settle, batches } of layers) settle[0]!(batches[0]!.map(() => undefined));
    await calls;
  });
});
