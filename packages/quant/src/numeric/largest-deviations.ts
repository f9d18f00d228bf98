/** Selection of the elements farthest from their mean. */

/**
 * Writes the indices of the `count` elements of `x[start .. start + length)` that deviate most from `center` into `out`, largest
 * deviation first, ties by lower index; indices count from `start`. Deviation is fp32 `|x - center|`.
 * `deviations` is scratch of at least `count`.
 */
export function selectLargestDeviations(x: Float32Array, range: { start: number; length: number; center: number }, out: Uint32Array, deviations: Float32Array, count: number): void {
  const { start, length, center } = range;
  if (count === 0) return;
  let held = 0;
  for (let index = 0; index < length; index++) {
    const deviation = Math.abs(Math.fround(x[start + index]! - center));
    if (held === count && !(deviation > deviations[count - 1]!)) continue;
    let place = held < count ? held++ : count - 1;
    while (place > 0 && deviations[place - 1]! < deviation) {
      deviations[place] = deviations[place - 1]!;
      out[place] = out[place - 1]!;
      place--;
    }
    deviations[place] = deviation;
    out[place] = index;
  }
}

/** Mean of `x[start .. start + length)`: fp32 sum in index order, one fp32 division. */
export function meanInOrder(x: Float32Array, start: number, length: number): number {
  let sum = 0;
  for (let index = start; index < start + length; index++) sum = Math.fround(sum + x[index]!);
  return Math.fround(sum / length);
}
