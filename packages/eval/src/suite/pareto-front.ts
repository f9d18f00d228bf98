/** Which rows are worth their bits. */

import type { ParetoPoint, WindowRow } from "./suite-report.js";

/** For each tail the compressed rows that no other row of it beats in both bits and divergence, by bits upwards. Rows without full pages are left out. */
export function paretoFront(rows: readonly Pick<WindowRow, "cache" | "tail" | "bitsPerValue" | "kldMean">[]): readonly ParetoPoint[] {
  const points = rows.flatMap(({ cache, tail, bitsPerValue, kldMean }) => (tail === undefined || bitsPerValue === undefined ? [] : [{ cache, tail, bitsPerValue, kldMean }]));
  const tails = [...new Set(points.map(({ tail }) => tail))];
  return tails.flatMap((tail) => {
    let best = Infinity;
    const sorted = points.filter((point) => point.tail === tail).sort((a, b) => a.bitsPerValue - b.bitsPerValue || a.kldMean - b.kldMean);
    return sorted.filter(({ kldMean }) => {
      if (!(kldMean < best)) return false;
      best = kldMean;
      return true;
    });
  });
}
