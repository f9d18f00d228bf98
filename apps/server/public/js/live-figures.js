// Figures of the answer under way: measured here while it comes, the server's own when it is done.
import { byId, make } from "./dom.js";
import { bytes, count, rate, seconds } from "./format.js";

/** Tokens a second are those of this many milliseconds. */
const windowMilliseconds = 1_500;

export function createLiveFigures() {
  let started = 0;
  let times = [];
  let tokens = 0;
  let timer;
  let running = false;

  const set = (id, text) => void (byId(id).textContent = text);

  function showRate() {
    const now = performance.now();
    times = times.filter((time) => now - time < windowMilliseconds);
    if (times.length > 1) set("live-rate", rate((1000 * (times.length - 1)) / (now - times[0])));
  }

  /** @param name of the compressed cache; sizes in bytes */
  function compare(cache, fp16) {
    const widest = Math.max(cache, fp16, 1);
    const place = byId("live-compare");
    place.querySelector(".quantized").style.width = `${(100 * cache) / widest}%`;
    place.querySelector(".fp16").style.width = `${(100 * fp16) / widest}%`;
    set("live-cache", bytes(cache));
    set("live-fp16", bytes(fp16));
    const ratio = cache > 0 ? fp16 / cache : 1;
    place.setAttribute("aria-label", `This answer's cache takes ${bytes(cache)}; in fp16 the same tokens would take ${bytes(fp16)}.`);
    const verdict = ratio >= 1.05 ? [`${ratio.toFixed(1)} times smaller`, " than fp16, everything counted."] : ratio > 0.95 ? ["The same size", " as fp16."] : [`${(1 / ratio).toFixed(1)} times larger`, " than fp16 so far: the newest tokens are kept exact, and pages close as the text grows."];
    byId("live-verdict").replaceChildren(make("strong", {}, verdict[0]), verdict[1]);
  }

  function end() {
    running = false;
    clearInterval(timer);
  }

  return {
    start() {
      started = performance.now();
      times = [];
      tokens = 0;
      running = true;
      for (const id of ["live-rate", "live-first", "live-cached"]) set(id, "…");
      set("live-tokens", "0");
      clearInterval(timer);
      timer = setInterval(showRate, 200);
    },
    token() {
      if (tokens === 0) set("live-first", seconds((performance.now() - started) / 1000));
      tokens++;
      times.push(performance.now());
      set("live-tokens", count(tokens));
    },
    /** The engine's sizes while an answer is running; the answer's own come with its usage. */
    engine({ cacheBytes, fp16Bytes }) {
      if (running) compare(cacheBytes, fp16Bytes);
    },
    finish(usage) {
      end();
      const { kvquant, completion_tokens, prompt_tokens, prompt_tokens_details } = usage;
      const writing = kvquant.seconds - kvquant.first_token_seconds;
      set("live-rate", completion_tokens > 1 && writing > 0 ? rate((completion_tokens - 1) / writing) : "–");
      set("live-first", seconds(kvquant.first_token_seconds));
      set("live-cached", `${count(prompt_tokens_details.cached_tokens)} of ${count(prompt_tokens)}`);
      set("live-tokens", count(completion_tokens));
      compare(kvquant.cache_bytes, kvquant.fp16_bytes);
    },
    end,
    showCacheName: (name) => set("live-cache-name", name),
    reset() {
      end();
      for (const id of ["live-rate", "live-first", "live-cached", "live-tokens", "live-cache", "live-fp16"]) set(id, "–");
      for (const fill of byId("live-compare").querySelectorAll(".fill")) fill.style.width = "0";
      byId("live-verdict").textContent = "The cache of an answer against the same tokens in fp16.";
    },
  };
}
