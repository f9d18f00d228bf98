/** Ranges and histograms of keys that follow from their raw histograms. */

import { check, checkInteger } from "@kvquant/spec";
import { CHANNEL_BINS } from "./channel-histograms.js";
import type { KeyStatistics, NormalisedHistogram } from "./layer-statistics.js";
import { addNormalised, createNormalisedSums, normalisedHistogram } from "./normalised-histogram.js";

/** Range of each channel `[C]`; what lies outside is an outlier. */
export interface ChannelRange {
  readonly low: Float32Array;
  readonly high: Float32Array;
}

/**
 * Quantile `q` in [0, 1] of channel `channel` by linear interpolation between order statistics, which are known to within one
 * bin (values of a bin are taken as evenly spread).
 * @throws INVALID_ARGUMENT
 */
export function channelQuantile(statistics: KeyStatistics, channel: number, q: number): number {
  checkInteger("channelQuantile: channel", channel, { minimum: 0, maximum: statistics.channels.channels - 1 });
  check(q >= 0 && q <= 1, "channelQuantile: q", "a number from 0 to 1", q);
  const minimum = statistics.minimum[channel]!;
  const maximum = statistics.maximum[channel]!;
  const { count } = statistics.channels;
  const first = channel * CHANNEL_BINS;
  let total = 0;
  for (let bin = 0; bin < CHANNEL_BINS; bin++) total += count[first + bin]!;
  const rank = q * (total - 1);
  const below = orderStatistic(statistics, channel, Math.floor(rank), total);
  const above = orderStatistic(statistics, channel, Math.ceil(rank), total);
  const value = below + (above - below) * (rank - Math.floor(rank));
  return value < minimum ? minimum : value > maximum ? maximum : value;
}

/**
 * Two-sided range of each channel: min and max for fraction 0, otherwise the quantiles `fraction / 2` and `1 - fraction / 2`
 * (KVQuant section 3.4: 1% means the 0.5 and 99.5 percentiles).
 */
export function keyRange(statistics: KeyStatistics, fraction: number): ChannelRange {
  if (fraction === 0) return { low: statistics.minimum.slice(), high: statistics.maximum.slice() };
  const { channels } = statistics.channels;
  return {
    low: Float32Array.from({ length: channels }, (_, channel) => channelQuantile(statistics, channel, fraction / 2)),
    high: Float32Array.from({ length: channels }, (_, channel) => channelQuantile(statistics, channel, 1 - fraction / 2)),
  };
}

/**
 * Histogram of all channels' values inside `range`, normalised to `(x - zero) / scale`, with weights F * scale^2. The factor
 * scale^2 makes the error count in the units of the values (left out in the authors' code, worth 0.07 perplexity at 3 bits).
 */
export function normalisedKeys(statistics: KeyStatistics, range: ChannelRange, scale: Float32Array, zero: Float32Array): NormalisedHistogram {
  const { channels, lower, width, count, weight, weightedSum } = statistics.channels;
  const sums = createNormalisedSums();
  for (let channel = 0; channel < channels; channel++) {
    if (scale[channel] === 0) continue;
    const perScale = 1 / scale[channel]!;
    const square = scale[channel]! ** 2;
    for (let bin = 0; bin < CHANNEL_BINS; bin++) {
      const place = channel * CHANNEL_BINS + bin;
      const values = count[place]!;
      if (values === 0) continue;
      const w = weight[place]!;
      const centre = lower[channel]! + (bin + 0.5) * width[channel]!;
      const mean = w > 0 ? weightedSum[place]! / w : centre;
      const inside = Math.min(Math.max(mean, statistics.minimum[channel]!), statistics.maximum[channel]!);
      if (inside < range.low[channel]! || inside > range.high[channel]!) continue;
      addNormalised(sums, (inside - zero[channel]!) * perScale, w * square, values);
    }
  }
  return normalisedHistogram(sums);
}

/** Estimate of the `index`-th smallest of `total` values, counted from 0; the first and last are exact. */
function orderStatistic(statistics: KeyStatistics, channel: number, index: number, total: number): number {
  if (index === 0) return statistics.minimum[channel]!;
  if (index === total - 1) return statistics.maximum[channel]!;
  const { lower, width, count } = statistics.channels;
  const first = channel * CHANNEL_BINS;
  let before = 0;
  for (let bin = 0; bin < CHANNEL_BINS; bin++) {
    const here = count[first + bin]!;
    if (index < before + here) return lower[channel]! + width[channel]! * (bin + (index - before + 0.5) / here);
    before += here;
  }
  return statistics.maximum[channel]!;
}
