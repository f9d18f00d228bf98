import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bestWithin, cheapestUnder, paretoFront } from "./assign-options.js";
import { lowerHull } from "./lower-hull.js";
import type { Tradeoff } from "./lower-hull.js";

/** Whole numbers, so that sums are exact. */
const option = fc.record({ cost: fc.integer({ min: 0, max: 30 }), damage: fc.integer({ min: 0, max: 200 }) });
const tensors = fc.array(fc.array(option, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 });

/** Every assignment, by counting through all of them. */
function allAssignments(options: readonly (readonly Tradeoff[])[]): Tradeoff[] {
  return options.reduce<Tradeoff[]>((sums, own) => sums.flatMap((sum) => own.map(({ cost, damage }) => ({ cost: sum.cost + cost, damage: sum.damage + damage }))), [{ cost: 0, damage: 0 }]);
}

const leastDamage = (all: readonly Tradeoff[], cost: number): number => Math.min(...all.filter((one) => one.cost <= cost).map(({ damage }) => damage));
const leastCost = (all: readonly Tradeoff[], damage: number): number => Math.min(...all.filter((one) => one.damage <= damage).map(({ cost }) => cost));

describe("the lower hull of one tensor", () => {
  it("drops options above the line between two others, and those that cost more without harming less", () => {
    const points = [[4, 1], [1, 10], [2, 9], [3, 2], [5, 1], [1, 12]].map(([cost, damage]) => ({ cost: cost!, damage: damage! }));
    // By hand: (2, 9) lies above the line from (1, 10) to (3, 2), which is at 6 there.
    expect(lowerHull(points)).toEqual([{ cost: 1, damage: 10 }, { cost: 3, damage: 2 }, { cost: 4, damage: 1 }]);
  });
});

describe("assigning options", () => {
  it("gives a front whose every point is the best of all assignments of its cost", () => {
    fc.assert(fc.property(tensors, (options) => {
      const all = allAssignments(options);
      const front = paretoFront(options);
      for (const { cost, damage } of front) expect(damage).toBe(leastDamage(all, cost));
      expect(front.at(-1)!.damage).toBe(Math.min(...all.map(({ damage }) => damage)));
      expect(front[0]!.cost).toBe(Math.min(...all.map(({ cost }) => cost)));
    }));
  });

  it("states sums that are those of the options it chose, one of each tensor", () => {
    fc.assert(fc.property(tensors, (options) => {
      for (const { chosen, cost, damage } of paretoFront(options)) {
        chosen.forEach((one, tensor) => expect(options[tensor]).toContain(one));
        expect([cost, damage]).toEqual([chosen.reduce((sum, one) => sum + one.cost, 0), chosen.reduce((sum, one) => sum + one.damage, 0)]);
      }
    }));
  });

  it("under a bound of cost is the optimum on the front, and in between at least as good as the front's last point", () => {
    fc.assert(fc.property(tensors, fc.integer({ min: 0, max: 130 }), (options, bound) => {
      const all = allAssignments(options);
      const front = paretoFront(options);
      for (const point of front) expect(bestWithin(options, point.cost)!.damage).toBe(point.damage);
      const best = bestWithin(options, bound);
      if (best === undefined) {
        expect(front[0]!.cost).toBeGreaterThan(bound);
        return;
      }
      expect(best.cost).toBeLessThanOrEqual(bound);
      expect(best.damage).toBeLessThanOrEqual(front.filter(({ cost }) => cost <= bound).at(-1)!.damage);
      expect(best.damage).toBeGreaterThanOrEqual(leastDamage(all, bound));
    }));
  });

  it("under a bound of damage is the optimum on the front, and in between no dearer than the front's first point", () => {
    fc.assert(fc.property(tensors, fc.integer({ min: 0, max: 900 }), (options, bound) => {
      const all = allAssignments(options);
      const front = paretoFront(options);
      for (const point of front) expect(cheapestUnder(options, point.damage)!.cost).toBe(point.cost);
      const cheapest = cheapestUnder(options, bound);
      if (cheapest === undefined) {
        expect(front.at(-1)!.damage).toBeGreaterThan(bound);
        return;
      }
      expect(cheapest.damage).toBeLessThanOrEqual(bound);
      expect(cheapest.cost).toBeLessThanOrEqual(front.find(({ damage }) => damage <= bound)!.cost);
      expect(cheapest.cost).toBeGreaterThanOrEqual(leastCost(all, bound));
    }));
  });

  it("never does worse with a looser bound", () => {
    fc.assert(fc.property(tensors, fc.integer({ min: 0, max: 900 }), fc.integer({ min: 0, max: 100 }), (options, bound, more) => {
      const [tight, loose] = [bestWithin(options, bound), bestWithin(options, bound + more)];
      if (tight !== undefined) expect(loose!.damage).toBeLessThanOrEqual(tight.damage);
      const [dear, cheap] = [cheapestUnder(options, bound), cheapestUnder(options, bound + more)];
      if (dear !== undefined) expect(cheap!.cost).toBeLessThanOrEqual(dear.cost);
    }));
  });
});
