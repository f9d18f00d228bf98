// What the cache holds now, and what it has done since the server started.
import { byId, fillFigures, make } from "./dom.js";
import { bytes, count, percent } from "./format.js";

export function createMemory() {
  return {
    show(stats) {
      const { cacheBytes, cacheLimit, sequenceBytes, prefixBytes, fp16Bytes } = stats;
      const bar = byId("memory-bar");
      bar.querySelector(".sequences").style.width = `${(100 * sequenceBytes) / cacheLimit}%`;
      bar.querySelector(".prefixes").style.width = `${(100 * prefixBytes) / cacheLimit}%`;
      bar.setAttribute("aria-label", `${bytes(cacheBytes)} of ${bytes(cacheLimit)} in use: ${bytes(sequenceBytes)} by running sequences, ${bytes(prefixBytes)} by prefixes kept for reuse`);
      const entry = (kind, name, size) => make("li", {}, make("span", { className: `swatch ${kind}` }), `${name} ${bytes(size)}`);
      byId("memory-legend").replaceChildren(entry("sequences", "running", sequenceBytes), entry("prefixes", "kept prefixes", prefixBytes), entry("free", "free", Math.max(0, cacheLimit - cacheBytes)));
      const bits = stats.bitsPerValue === undefined ? "–" : stats.bitsPerValue.mean.toFixed(2);
      const store = stats.store;
      fillFigures(byId("cache-figures"), [
        ["Held", bytes(cacheBytes)],
        ["In fp16", bytes(fp16Bytes), "what fp16 would take for the same tokens"],
        ["Bits a value", bits, "true bits of full pages: codes, scales and outliers counted"],
        ["Hit rate", percent(stats.hitRate), "share of prompt tokens that came from the cache"],
        ["Sessions", count(stats.sessions)],
        ["Preemptions", count(stats.preemptions)],
        ["Saturated", count(stats.saturated), "outliers that found no slot and took the end level"],
        ...(store === undefined ? [] : [
          [`Store: ${store.id}`, store.bytes === undefined ? "shared" : bytes(store.bytes)],
          ["Store hits", `${count(store.hits)} of ${count(store.hits + store.misses)}`],
          ["Store damaged", count(store.damaged), "records that failed their check: dropped and computed again"],
        ]),
      ]);
    },
  };
}
