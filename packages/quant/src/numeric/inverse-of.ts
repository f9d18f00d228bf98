/** Reciprocals of scales. */

/** fp32 reciprocal; 0 for 0, so that a constant channel decodes to its zero point. */
export function inverseOf(scale: number): number {
  return scale === 0 ? 0 : Math.fround(1 / scale);
}
