import { KvquantError } from "@kvquant/spec";
import { afterEach, describe, expect, it } from "vitest";
import { createFidelityMonitor } from "./fidelity-monitor.js";
import type { FidelityMonitor, FidelityMonitorOptions, FidelityScore } from "./fidelity-monitor.js";

let monitor: FidelityMonitor | undefined;
afterEach(() => monitor?.stop());

const tokens = Int32Array.from({ length: 10 }, (_, index) => index);
const scoreOf = (kld: number): FidelityScore => ({ kldSum: kld * 4, kldMax: kld * 2, agreeing: 3, positions: 4 });

function start(options: Partial<FidelityMonitorOptions>): FidelityMonitor {
  monitor = createFidelityMonitor({ share: 1, tokens: 8, threshold: 0.1, isIdle: () => true, onThreshold: () => undefined, onFailure: () => undefined, lookMilliseconds: 2, score: () => Promise.resolve(scoreOf(0.01)), ...options });
  return monitor;
}

describe("createFidelityMonitor", () => {
  it("scores the first tokens of requests it kept, when idle, and sums positions", async () => {
    const seen: number[][] = [];
    let idle = false;
    const watched = start({ isIdle: () => idle, score: (given) => (seen.push([...given]), Promise.resolve(scoreOf(0.02))) });
    expect(watched.figures()).toMatchObject({ samples: 0, kldMean: null, kldMax: null, top1: null, over: false, last: [] });
    watched.offer(tokens);
    watched.offer(tokens);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual([]);
    idle = true;
    await expect.poll(() => watched.figures().samples).toBe(2);
    expect(seen[0]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(watched.figures()).toMatchObject({ positions: 8, kldMean: 0.02, kldMax: 0.04, top1: 0.75, last: [{ kld: 0.02, tokens: 8, positions: 4 }, { kld: 0.02 }] });
  });

  it("keeps the share of requests it is told", () => {
    const draws = [0.009, 0.5, 0.02, 0.001];
    const watched = start({ share: 0.01, random: () => draws.shift()!, isIdle: () => false });
    for (let request = 0; request < 4; request++) watched.offer(tokens);
    expect(watched.figures().waiting).toBe(2);
  });

  it("leaves out requests too short to have anything compressed", () => {
    const watched = start({ leastTokens: 11, isIdle: () => false });
    watched.offer(tokens);
    expect(watched.figures().waiting).toBe(0);
  });

  it("stops at once when work comes, and scores the request later", async () => {
    let calls = 0;
    const watched = start({
      score: (_, signal) =>
        ++calls > 1 ? Promise.resolve(scoreOf(0.01)) : new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new KvquantError("CANCELLED", "stopped")))),
    });
    watched.offer(tokens);
    await expect.poll(() => calls).toBe(1);
    watched.interrupt();
    await expect.poll(() => watched.figures()).toMatchObject({ samples: 1, interrupted: 1, failed: 0 });
  });

  it("tells once when the mean goes over the threshold, and once when it comes back", async () => {
    const told: boolean[] = [];
    const scores = [0.01, 0.5, 0.5, ...new Array<number>(60).fill(0)];
    const watched = start({ score: () => Promise.resolve(scoreOf(scores.shift()!)), onThreshold: ({ over }) => told.push(over), lookMilliseconds: 1 });
    const feed = async (count: number): Promise<void> => {
      const target = watched.figures().samples + count;
      for (let request = 0; request < count; request++) {
        watched.offer(tokens);
        await expect.poll(() => watched.figures().waiting, { interval: 1 }).toBe(0);
      }
      await expect.poll(() => watched.figures().samples, { interval: 1 }).toBe(target);
    };
    await feed(3);
    expect([told, watched.figures().over]).toEqual([[true], true]);
    await feed(20);
    expect([told, watched.figures().over]).toEqual([[true, false], false]);
  });

  it("counts and reports what fails, and goes on", async () => {
    const failures: unknown[] = [];
    let calls = 0;
    const watched = start({ score: () => (++calls === 1 ? Promise.reject(new Error("broken")) : Promise.resolve(scoreOf(0))), onFailure: (error) => failures.push(error) });
    watched.offer(tokens);
    watched.offer(tokens);
    await expect.poll(() => watched.figures().samples).toBe(1);
    expect([watched.figures().failed, failures]).toEqual([1, [new Error("broken")]]);
  });
});
