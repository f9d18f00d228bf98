// One process of the crash test: `prepare FOLDER` writes the cache's artifact and the texts that must come out, `load FOLDER` serves requests from the store on disk until it is killed,
// `damage FOLDER` changes one byte of one record. Prints one line of JSON for each event.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { calibrateModel, makeArtifact } from "../packages/eval/dist/index.js";
import { createServingEngine } from "../packages/engine/dist/index.js";
import { openLmdbStore } from "../packages/engine/dist/lmdb.js";
import { defaultText, loadModel } from "../packages/model/dist/index.js";
import { decodeArtifact, encodeArtifact } from "../packages/quant/dist/index.js";

const [mode = "", folder = "", seed = "1"] = process.argv.slice(2);
const storePath = join(folder, "pages");
/** Little enough that records are evicted, and pages come and go in memory. */
const storeBytes = 1_500_000;
const atOnce = 6;

const say = (/** @type {object} */ event) => void process.stdout.write(`${JSON.stringify(event)}\n`);

/**
 * The same class for the type checker too, which reads the engine's types from its sources and these imports from built files.
 * @param {unknown} model
 */
const asModel = (model) => /** @type {import("../packages/engine/dist/index.js").ServingEngineOptions["model"]} */ (model);

/** Requests in families with long common beginnings. @param {number[]} tokens */
function makeRequests(tokens) {
  return Array.from({ length: 24 }, (_, index) => {
    const start = 700 * (index % 4);
    return { prompt: [...tokens.slice(start, start + 200), ...tokens.slice(4_000 + 40 * index, 4_030 + 40 * index)], maxTokens: 16, sampling: { temperature: 0.9, topP: 0.95 }, seed: index, stopAtEnd: false };
  });
}

/** @param {import("../packages/engine/dist/index.js").Generation} generation */
async function collect(generation) {
  let text = "";
  let cached = 0;
  for await (const part of generation) {
    if (part.type === "start") cached = part.cachedTokens;
    else text += part.text;
  }
  return { text, cached };
}

/** Numbers from 0 to 1 that a seed decides. @param {number} state */
function randomNumbers(state) {
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function prepare() {
  const model = await loadModel("tiny", { threads: 1 });
  const tokens = Array.from(model.tokenizer.encode(readFileSync(/** @type {string} */ (defaultText("tiny")), "utf8").slice(0, 30_000), { addSpecial: false }));
  const calibration = await calibrateModel(model, { tokens, sequences: 2, length: 256, sinkTokens: 1, sensitivity: "fisher" });
  const artifact = makeArtifact(model, "kvq3", calibration);
  writeFileSync(join(folder, "cache.kvq"), encodeArtifact(artifact));
  const requests = makeRequests(tokens);
  const engine = createServingEngine({ model: asModel(model), artifact, cacheBytes: 64 * 2 ** 20, prefixReuse: false });
  const texts = [];
  for (const request of requests) texts.push((await collect(engine.submit(request))).text);
  await engine.dispose();
  await model.dispose();
  writeFileSync(join(folder, "expected.json"), JSON.stringify({ tokens: tokens.slice(0, 6_000), texts }));
  say({ event: "prepared", requests: requests.length, different: new Set(texts).size });
}

async function load() {
  const { tokens, texts } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  const requests = makeRequests(tokens);
  const model = await loadModel("tiny", { threads: 1 });
  const store = await openLmdbStore({ path: storePath, maxBytes: storeBytes });
  const engine = createServingEngine({ model: asModel(model), artifact: decodeArtifact(readFileSync(join(folder, "cache.kvq"))), cacheBytes: 3 * 2 ** 20, snapshotTokens: 128, store });
  say({ event: "open", bytes: await store.bytes() });
  const random = randomNumbers(Number(seed));
  let sent = 0;
  const client = async () => {
    for (;;) {
      // Every request once, then any.
      const index = sent < requests.length ? sent : Math.floor(random() * requests.length);
      sent++;
      const { text, cached } = await collect(engine.submit(/** @type {typeof requests[number]} */ (requests[index])));
      const { hits = 0, damaged = 0, written = 0 } = engine.stats().store ?? {};
      say({ event: "answer", index, good: text === texts[index], cached, hits, damaged, written });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
}

async function damage() {
  const store = await openLmdbStore({ path: storePath, maxBytes: storeBytes });
  const random = randomNumbers(Number(seed));
  const keys = [];
  for await (const key of store.keys("")) keys.push(key);
  let changed = 0;
  // A quarter of them, so that some will surely be looked for.
  for (const key of keys) {
    if (random() > 0.25) continue;
    const value = await store.get(key);
    if (value === undefined) continue;
    const at = Math.floor(random() * value.length);
    value[at] = /** @type {number} */ (value[at]) ^ (1 << Math.floor(random() * 8));
    await store.put(key, value);
    changed++;
  }
  await store.close();
  say({ event: "damaged", records: keys.length, changed });
}

if (mode === "prepare") await prepare();
else if (mode === "load") await load();
else if (mode === "damage") await damage();
else throw new Error(`crash-test-child: expected prepare, load or damage, got ${mode}`);
