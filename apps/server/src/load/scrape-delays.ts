/** The event loop's lateness, read from a server's `/metrics`. */

import { nameServer } from "./name-server.js";

/** Samples by upper bound in seconds, cumulative, as Prometheus has them. */
export type DelayBuckets = ReadonlyMap<number, number>;

const metric = "kvquant_event_loop_delay_seconds_bucket";

/** The buckets now; undefined for a server that does not tell. @throws UNAVAILABLE without a connection */
export async function scrapeDelays(url: string, apiKey?: string): Promise<DelayBuckets | undefined> {
  const text = await nameServer(url, async () => {
    const response = await fetch(`${url}/metrics`, apiKey === undefined ? {} : { headers: { authorization: `Bearer ${apiKey}` } });
    return response.ok ? await response.text() : "";
  });
  const found = [...text.matchAll(new RegExp(`^${metric}\\{le="([^"]+)"\\} (\\d+)$`, "gm"))];
  return found.length === 0 ? undefined : new Map(found.map(([, bound, count]) => [bound === "+Inf" ? Infinity : Number(bound), Number(count)]));
}

/** The bound below which a share of the samples between two looks lies: a quantile from above, in seconds. */
export function delayQuantile(before: DelayBuckets, after: DelayBuckets, share: number): number {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const since = (bound: number): number => after.get(bound)! - (before.get(bound) ?? 0);
  const total = since(bounds.at(-1)!);
  return bounds.find((bound) => since(bound) >= share * total) ?? Infinity;
}
