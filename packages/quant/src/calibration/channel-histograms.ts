/** Streaming histograms of raw values, one a channel, whose range grows by merging bins. */

/** Bins of each channel. */
export const CHANNEL_BINS = 1024;

/**
 * Histograms of `channels` streams. Bin b of channel c covers `[lower[c] + b * width[c], lower[c] + (b + 1) * width[c])`; its
 * sums lie at index `c * 1024 + b`. A width of 0 marks a channel without values.
 */
export interface ChannelHistograms {
  readonly channels: number;
  /** `[channels]` */
  readonly lower: Float64Array;
  /** `[channels]` */
  readonly width: Float64Array;
  /** Values in each bin `[channels * 1024]`. */
  readonly count: Uint32Array;
  /** Sum of weights in each bin. */
  readonly weight: Float32Array;
  /** Sum of weight * value in each bin. */
  readonly weightedSum: Float32Array;
}

/** Empty histograms. */
export function createChannelHistograms(channels: number): ChannelHistograms {
  const size = channels * CHANNEL_BINS;
  return { channels, lower: new Float64Array(channels), width: new Float64Array(channels), count: new Uint32Array(size), weight: new Float32Array(size), weightedSum: new Float32Array(size) };
}

/**
 * Adds `values[start .. start + length)` with their weights to channel `channel`. The first call chooses a range 1.5 times as wide
 * as its values; a later value outside doubles the range towards it, merging neighbouring bins, as often as needed.
 */
export function addToChannel(histograms: ChannelHistograms, channel: number, values: Float32Array, weights: Float32Array, range: { start: number; length: number }): void {
  const { start, length } = range;
  if (length === 0) return;
  let minimum = values[start]!;
  let maximum = minimum;
  for (let index = start + 1; index < start + length; index++) {
    const value = values[index]!;
    if (value < minimum) minimum = value;
    if (value > maximum) maximum = value;
  }
  cover(histograms, channel, minimum, maximum);
  const lower = histograms.lower[channel]!;
  const perWidth = 1 / histograms.width[channel]!;
  const first = channel * CHANNEL_BINS;
  const { count, weight, weightedSum } = histograms;
  for (let index = start; index < start + length; index++) {
    const value = values[index]!;
    let bin = ((value - lower) * perWidth) | 0;
    if (bin > CHANNEL_BINS - 1) bin = CHANNEL_BINS - 1;
    const place = first + bin;
    const w = weights[index]!;
    count[place]! += 1;
    weight[place]! += w;
    weightedSum[place]! += w * value;
  }
}

function cover(histograms: ChannelHistograms, channel: number, minimum: number, maximum: number): void {
  const { lower, width } = histograms;
  if (width[channel] === 0) {
    const middle = (minimum + maximum) / 2;
    const half = Math.max((maximum - minimum) * 0.75, Math.abs(middle) * 1e-3, 1e-6);
    lower[channel] = middle - half;
    width[channel] = (2 * half) / CHANNEL_BINS;
    return;
  }
  while (minimum < lower[channel]!) {
    mergeBins(histograms, channel, CHANNEL_BINS / 2);
    lower[channel]! -= width[channel]! * CHANNEL_BINS;
    width[channel]! *= 2;
  }
  while (maximum >= lower[channel]! + width[channel]! * CHANNEL_BINS) {
    mergeBins(histograms, channel, 0);
    width[channel]! *= 2;
  }
}

/** Adds neighbours up into 512 bins that start at bin `target`; the others become empty. */
function mergeBins(histograms: ChannelHistograms, channel: number, target: number): void {
  const half = CHANNEL_BINS / 2;
  const first = channel * CHANNEL_BINS;
  for (const sums of [histograms.count, histograms.weight, histograms.weightedSum]) {
    const merged = new Float64Array(half);
    for (let bin = 0; bin < half; bin++) merged[bin] = sums[first + 2 * bin]! + sums[first + 2 * bin + 1]!;
    sums.fill(0, first, first + CHANNEL_BINS);
    sums.set(merged, first + target);
  }
}
