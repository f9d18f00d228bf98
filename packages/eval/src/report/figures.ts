/** Numbers as the report writes them. */

/** Three significant digits, such as `0.0316`; exponents only below 0.0001. */
export function small(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  return Math.abs(value) < 0.0001 ? value.toExponential(1) : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** A tick of an axis: no digits without need, such as `0.03`. */
export function tick(value: number): string {
  return value !== 0 && Math.abs(value) < 0.0001 ? value.toExponential(0) : String(Number(value.toPrecision(6)));
}

/** Two significant digits, for errors and bounds. */
export function rough(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 0.0001 ? value.toExponential(0) : Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2);
}

/** A fixed number of digits after the point. */
export function fixed(value: number | undefined, digits: number): string {
  return value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(digits);
}

/** With its sign. */
export function change(value: number, digits: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** A share of one as a percentage. */
export function percent(share: number | undefined, digits = 1): string {
  return share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`;
}

/** An interval in the given way; a dash where there is none. */
export function interval(bounds: { readonly low: number; readonly high: number } | undefined, write: (value: number) => string): string {
  return bounds === undefined ? "–" : `${write(bounds.low)} to ${write(bounds.high)}`;
}

/** A figure with its interval behind it: `0.0284 (0.026–0.031)`. */
export function withBounds(value: string, bounds: { readonly low: number; readonly high: number } | undefined): string {
  return bounds === undefined ? value : `${value} (${rough(bounds.low)}–${rough(bounds.high)})`;
}

/** A figure and half its symmetric interval: `0.0537 ± 0.0073`. */
export function plusMinus(value: string, bounds: { readonly low: number; readonly high: number } | undefined, write: (value: number) => string): string {
  return bounds === undefined ? value : `${value} ± ${write((bounds.high - bounds.low) / 2)}`;
}

/** Tokens as people count them: `2,048`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A tail in words. */
export function tailName(tail: number | undefined): string {
  return tail === undefined ? "exact" : tail === 0 ? "no tail" : `tail ${tail}`;
}
