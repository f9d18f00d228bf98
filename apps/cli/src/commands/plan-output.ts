/** A plan as text: layer by layer, and its Pareto front. */

import type { Plan, PlanFigures } from "@kvquant/eval";
import { formatBytes, formatSmall } from "../format.js";
import { formatTable } from "../table.js";
import type { Column } from "../table.js";

/** Every layer's options and true bits; runs of equal layers share a row. */
export function formatPlan({ tensors }: Plan): string {
  const cells = Array.from({ length: tensors.length / 2 }, (_, layer) => {
    const [key, value] = [tensors[2 * layer]!, tensors[2 * layer + 1]!];
    return [key.option, key.bits.toFixed(2), value.option, value.bits.toFixed(2)];
  });
  const starts = cells.flatMap((row, layer) => (row.join() === cells[layer - 1]?.join() ? [] : [layer]));
  const rows = starts.map((start, run) => {
    const end = (starts[run + 1] ?? cells.length) - 1;
    return [start === end ? `${start}` : `${start}-${end}`, ...cells[start]!];
  });
  return formatTable(planColumns, rows);
}

const planColumns: readonly Column[] = [
  { title: "layers", align: "right" },
  { title: "keys", align: "left" },
  { title: "bits", align: "right" },
  { title: "values", align: "left" },
  { title: "bits", align: "right" },
];

/** At most about 15 points of a front, evenly spaced in bits, the first and the last among them. */
export function formatFront(front: readonly PlanFigures[], tokens: number): string {
  const rows = thinFront(front, 15).map(({ bitsPerValue, predictedKld, cacheBytes }) => [bitsPerValue.toFixed(2), formatSmall(predictedKld), formatBytes(cacheBytes)]);
  const columns = ["bits/value", "predicted KL", `cache at ${tokens} tokens`].map((title): Column => ({ title, align: "right" }));
  return formatTable(columns, rows);
}

/** The points next to `count` bits spaced evenly over the front. */
function thinFront(front: readonly PlanFigures[], count: number): PlanFigures[] {
  const [first, last] = [front[0]!, front.at(-1)!];
  const kept = new Set<PlanFigures>();
  for (let index = 0; index < count; index++) {
    const bits = first.bitsPerValue + ((last.bitsPerValue - first.bitsPerValue) * index) / (count - 1);
    kept.add(front.reduce((near, point) => (Math.abs(point.bitsPerValue - bits) < Math.abs(near.bitsPerValue - bits) ? point : near)));
  }
  return [...kept];
}
