import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planStep } from "./plan-step.js";

const sequences = fc.array(
  fc.record({ held: fc.nat(500), pending: fc.integer({ min: 1, max: 900 }), generated: fc.nat(3), decoding: fc.boolean(), cuts: fc.array(fc.nat(150), { maxLength: 4 }) }).map(({ held, pending, generated, decoding, cuts }) => {
    const prompt = decoding ? held - generated : held + pending;
    // Two or more apart from each other, from what is held and from the end, as page ends are.
    return { held, known: Math.max(prompt, held) + 1, prompt, decoding, cuts: [...new Set(cuts)].sort((a, b) => a - b).map((cut) => held + 2 + 3 * cut).filter((cut) => cut <= prompt - 2) };
  }),
  { minLength: 1, maxLength: 12 },
);

describe("planStep", () => {
  it("decodes first, then takes prompts in order, each to its next cut", () => {
    const prompt = (held: number, known: number, cuts: number[] = []) => ({ held, known, prompt: known, cuts });
    const decode = { held: 9, known: 10, prompt: 8, cuts: [] };
    const all = [prompt(0, 300, [65, 129]), decode, prompt(128, 500), decode];
    expect(planStep(all, 100).map(({ sequence, rows }) => [all.indexOf(sequence), rows])).toEqual([[1, 1], [1, 1], [0, 65], [2, 33]]);
    expect(planStep([prompt(65, 300, [65, 129])], 512)[0]!.rows).toBe(64);
    expect(planStep([prompt(129, 300, [65, 129])], 512)[0]!.rows).toBe(171);
  });

  it("keeps the budget, gives every decoding sequence its row, crosses no cut and starves nobody", () => {
    fc.assert(
      fc.property(sequences, fc.integer({ min: 15, max: 600 }), (all, stepTokens) => {
        const plan = planStep(all, stepTokens);
        expect(plan.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(stepTokens);
        for (const sequence of all.filter(({ decoding }) => decoding)) expect(plan.filter((entry) => entry.sequence === sequence)).toEqual([{ sequence, rows: 1 }]);
        for (const { sequence, rows } of plan) {
          expect(rows).toBeGreaterThanOrEqual(1);
          expect(sequence.held + rows).toBeLessThanOrEqual(sequence.decoding ? sequence.known : sequence.prompt);
          const due = (sequence.cuts.find((cut) => cut > sequence.held) ?? sequence.prompt) - sequence.held;
          // A single row has other bits than the same row in a chunk.
          if (!sequence.decoding && due > 1) expect([rows, due - rows]).not.toContain(1);
          expect(sequence.cuts.some((cut) => cut > sequence.held && cut < sequence.held + rows)).toBe(false);
        }
        const first = all.find(({ decoding }) => !decoding);
        if (first !== undefined) expect(plan.some(({ sequence }) => sequence === first)).toBe(true);
        // Little is left idle while a sequence could use it: whoever got nothing found the budget as good as spent.
        const spent = plan.reduce((sum, { rows }) => sum + rows, 0) > stepTokens - 3;
        expect(spent || plan.length === all.length).toBe(true);
      }),
    );
  });
});
