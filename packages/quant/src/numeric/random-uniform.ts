/** Reproducible random numbers for recipes that need some. */

/** Uniform numbers in [0, 1) from a 32-bit seed, the same on every machine: xorshift32 (Marsaglia 2003), its upper 24 bits. */
export function randomUniform(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}
