/** From figures to places on an axis. */

/** A scale from a domain to pixels. */
export interface Scale {
  readonly kind: "linear" | "log";
  /** Pixels; what lies outside the domain is put at its end. */
  place(value: number): number;
  readonly ticks: readonly number[];
}

/** A linear scale over `[low, high]` with about `count` round ticks. */
export function linearScale([low, high]: readonly [number, number], [start, end]: readonly [number, number], count = 5): Scale {
  const span = high > low ? high - low : 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999)!;
  const ticks: number[] = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= low + span * (1 + 1e-9); index++) ticks.push(Number((index * step).toPrecision(12)));
  return { kind: "linear", ticks, place: (value) => start + (clamp((value - low) / span) * (end - start)) };
}

/** A logarithmic scale that holds all positive values, at most `decades` of them below the largest; ticks at 1, 2 and 5 or at powers of ten. */
export function logScale(values: readonly number[], [start, end]: readonly [number, number], decades = 4): Scale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  const highest = positive.length === 0 ? 1 : Math.max(...positive);
  const lowest = positive.length === 0 ? 0.1 : Math.max(Math.min(...positive), highest / 10 ** decades);
  const low = Math.log10(lowest) - 0.08;
  const high = Math.log10(highest) + 0.08;
  const marks = high - low > 2.2 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const mark of marks) {
      const tick = mark * 10 ** power;
      if (Math.log10(tick) >= low && Math.log10(tick) <= high) ticks.push(Number(tick.toPrecision(3)));
    }
  }
  const place = (value: number): number => start + clamp(((value > 0 ? Math.log10(value) : -Infinity) - low) / (high - low)) * (end - start);
  return { kind: "log", ticks, place };
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}
