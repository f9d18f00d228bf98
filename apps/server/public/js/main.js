// Puts the page together: one poll feeds every panel, and the chat feeds the figures of the answer.
import { createApi, readKey, storeKey } from "./api.js";
import { createChat } from "./chat.js";
import { byId } from "./dom.js";
import { createFidelity } from "./fidelity.js";
import { createLiveFigures } from "./live-figures.js";
import { createMemory } from "./memory.js";
import { createPageMap } from "./page-map.js";
import { createPlots } from "./plots.js";
import { startTheme } from "./theme.js";
import { createTrouble } from "./trouble.js";

const trouble = createTrouble();
const api = createApi({ key: readKey, onUnauthorized: askForKey });
const select = byId("model");
const live = createLiveFigures();
const pageMap = createPageMap();
const memory = createMemory();
const plots = createPlots();
const fidelity = createFidelity();
const chat = createChat({ api, live, model: () => select.value, isReady: () => !select.disabled, onBusy: refreshCacheSoon });
startTheme(() => {
  plots.redraw();
  fidelity.redraw();
});

/** Newest answer of `/v1/cache`, by model. */
let cache = {};

select.addEventListener("change", () => {
  chat.clear();
  showModel();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  storeKey(byId("key").value.trim());
  byId("key-form").hidden = true;
  void start();
});

function askForKey() {
  byId("key-form").hidden = false;
}

function showModel() {
  const stats = cache[select.value];
  if (stats === undefined) return;
  pageMap.show(stats);
  memory.show(stats);
  live.showCacheName(stats.cache);
  live.engine(stats);
  byId("source").textContent = `${select.value} · cache ${stats.cache} · ${stats.path} · ${stats.backends.join(", ")} · context ${stats.contextLimit.toLocaleString("en")}`;
  fidelity.show(select.value);
}

function fillModels(models) {
  const chosen = select.value;
  const options = models.map(({ id, kvquant }) => new Option(`${id} · ${kvquant.cache}`, id));
  if (options.length === select.options.length && options.every((option, index) => option.value === select.options[index].value)) return;
  select.replaceChildren(...options);
  if (models.some(({ id }) => id === chosen)) select.value = chosen;
  select.disabled = false;
}

async function refreshCache() {
  cache = (await api.get("/v1/cache")).models;
  showModel();
}

async function refreshHealth() {
  const { status } = await api.get("/health", { acceptStatus: [503] });
  const busy = Object.values(cache).reduce((sum, { running }) => sum + running, 0);
  const waiting = Object.values(cache).reduce((sum, stats) => sum + stats.waiting, 0);
  const work = busy + waiting === 0 ? "idle" : `${busy} running${waiting > 0 ? `, ${waiting} waiting` : ""}`;
  setHealth(status === "ok" ? "ok" : "bad", status === "ok" ? work : status);
}

function setHealth(state, text) {
  const health = byId("health");
  health.dataset.state = state;
  // Written only when it changes: it is read aloud.
  const place = health.querySelector(".text");
  if (place.textContent !== text) place.textContent = text;
}

/** What is fetched how often, in milliseconds; while the chat is busy, the cache more often. */
const cacheJob = { run: refreshCache, every: 2_000, whenBusy: 600 };
const jobs = [
  { run: async () => fillModels((await api.get("/v1/models")).data), every: 30_000 },
  cacheJob,
  { run: refreshHealth, every: 2_000 },
  { run: async () => plots.show(await api.get("/v1/metrics/history")), every: 5_000 },
  { run: async () => fidelity.update((await api.get("/v1/fidelity")).models, select.value), every: 5_000 },
];
const due = new Map(jobs.map((job) => [job, 0]));
let polling = false;

/** By the next poll, which says what is wrong when the server cannot be reached. */
function refreshCacheSoon() {
  due.set(cacheJob, 0);
  void poll();
}

async function poll() {
  if (polling || document.hidden || !byId("key-form").hidden) return;
  polling = true;
  try {
    for (const job of jobs) {
      const now = performance.now();
      if (now < due.get(job)) continue;
      due.set(job, now + (chat.isBusy() ? (job.whenBusy ?? job.every) : job.every));
      await job.run();
    }
    trouble.clear("server");
  } catch (error) {
    if (error.status !== 401) {
      setHealth("bad", "not reachable");
      trouble.show("server", error.status === undefined ? "The server cannot be reached. Trying again every few seconds." : error.message);
    }
  } finally {
    polling = false;
  }
}

async function start() {
  for (const job of jobs) due.set(job, 0);
  await poll();
}

setInterval(() => void poll(), 300);
document.addEventListener("visibilitychange", () => void poll());
void start();
