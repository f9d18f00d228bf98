/** The options of one tensor that no mix of others beats. */

/** What an option costs, in any unit, and what it harms. */
export interface Tradeoff {
  readonly cost: number;
  readonly damage: number;
}

/**
 * The lower convex hull of (cost, damage), from the cheapest to the least harmful: cost rises, damage falls, and each step buys less for
 * its cost than the one before. Of equal costs the least harmful, of equal options the first.
 */
export function lowerHull<Option extends Tradeoff>(options: readonly Option[]): Option[] {
  const hull: Option[] = [];
  for (const option of [...options].sort((a, b) => a.cost - b.cost || a.damage - b.damage)) {
    const last = hull.at(-1);
    if (last !== undefined && option.damage >= last.damage) continue;
    while (hull.length >= 2 && slope(hull.at(-2)!, hull.at(-1)!) >= slope(hull.at(-1)!, option)) hull.pop();
    hull.push(option);
  }
  return hull;
}

/** Change of damage for each unit of cost, below 0 along a hull. */
export function slope(from: Tradeoff, to: Tradeoff): number {
  return (to.damage - from.damage) / (to.cost - from.cost);
}
