/** The event loop's lateness, read from a server's `/metrics`. */

/** Samples by upper bound in seconds, cumulative, as Prometheus has them. */
export type DelayBuckets = ReadonlyMap<number, number>;

const metric = "kvquant_event_loop_delay_seconds_bucket";

/** The buckets now; undefined for a server that does not tell. */
export async function scrapeDelays(url: string, apiKey?: string): Promise<DelayBuckets | undefined> {
  const response = await fetch(`${url}/metrics`, apiKey === undefined ? {} : { headers: { authorization: `Bearer ${apiKey}` } });
  if (!response.ok) return undefined;
  const found = [...(await response.text()).matchAll(new RegExp(`^${metric}\\{le="([^"]+)"\\} (\\d+)$`, "gm"))];
  return found.length === 0 ? undefined : new Map(found.map(([, bound, count]) => [bound === "+Inf" ? Infinity : Number(bound), Number(count)]));
}

/** The bound below which a share of the samples between two looks lies: a quantile from above, in seconds. */
export function delayQuantile(before: DelayBuckets, after: DelayBuckets, share: number): number {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const since = (bound: number): number => after.get(bound)! - (before.get(bound) ?? 0);
  const total = since(bounds.at(-1)!);
  return bounds.find((bound) => since(bound) >= share * total) ?? Infinity;
}
