/** The standard normal distribution in float64. */

const DENSITY_AT_ZERO = 1 / Math.sqrt(2 * Math.PI);

/** exp(-x^2 / 2) / sqrt(2 pi). */
export function normalDensity(x: number): number {
  return DENSITY_AT_ZERO * Math.exp(-0.5 * x * x);
}

/**
 * P(X > x) for x >= 0, to 1e-12 relative: the series of Marsaglia 2004, "Evaluating the normal distribution", below 3,
 * Laplace's continued fraction from there.
 */
export function normalUpperTail(x: number): number {
  if (x < 3) {
    let term = x;
    let sum = x;
    for (let odd = 3; term > sum * 1e-17; odd += 2) {
      term *= (x * x) / odd;
      sum += term;
    }
    return 0.5 - normalDensity(x) * sum;
  }
  let fraction = x;
  for (let depth = 100; depth > 0; depth--) fraction = x + depth / fraction;
  return normalDensity(x) / fraction;
}

/**
 * The x with P(X <= x) = p, for p in (0, 1), to about 1e-15 in p: Newton's iteration on the upper tail, from 0,
 * where the tail is convex and the iteration cannot overshoot.
 */
export function normalQuantile(p: number): number {
  if (p < 0.5) return -normalQuantile(1 - p);
  const tail = 1 - p;
  let x = 0;
  for (let iteration = 0; iteration < 200; iteration++) {
    const step = (normalUpperTail(x) - tail) / normalDensity(x);
    x += step;
    if (Math.abs(step) < 1e-16 + 1e-16 * x) break;
  }
  return x;
}
