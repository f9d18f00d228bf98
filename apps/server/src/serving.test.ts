import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTinyFolder, startTinyServer } from "./fixtures/tiny-server.js";
import type { TinyFolder, TinyServer } from "./fixtures/tiny-server.js";
import { tinyText } from "./fixtures/tiny-artifact.js";

let folder: TinyFolder;
let server: TinyServer;
let client: OpenAI;
beforeAll(async () => {
  folder = makeTinyFolder();
  server = await startTinyServer({ cache: await folder.artifact("kvq3") }, { fidelity: { share: 1, threshold: 10 } });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server.close();
  folder.remove();
});

/** Different texts of about so many tokens. */
const text = (tokens: number, from = 0): string => tinyText().slice(from, from + tokens * 3);
const complete = (prompt: string, fields: object = {}) => client.completions.create({ model: "tiny", prompt, max_tokens: 24, temperature: 0, ...fields });
const cachedTokens = (answer: OpenAI.Completion): number => answer.usage!.prompt_tokens_details!.cached_tokens!;

describe("the real engine behind the server, with tiny", () => {
  it("gives the same text streamed, unstreamed, and again from the cached prefix", async () => {
    const prompt = text(300);
    const first = await complete(prompt);
    expect([cachedTokens(first), first.usage!.completion_tokens]).toEqual([0, 24]);
    const again = await complete(prompt);
    expect(again.choices[0]!.text).toBe(first.choices[0]!.text);
    expect(cachedTokens(again)).toBeGreaterThan(100);
    let streamed = "";
    for await (const chunk of await client.completions.create({ model: "tiny", prompt, max_tokens: 24, temperature: 0, stream: true })) streamed += chunk.choices[0]!.text;
    expect(streamed).toBe(first.choices[0]!.text);
    const without = await complete(prompt, { prefix_reuse: false });
    expect([without.choices[0]!.text, cachedTokens(without)]).toEqual([first.choices[0]!.text, 0]);
    const { body } = await server.get("/v1/cache");
    expect(body.models.tiny).toMatchObject({ path: expect.stringMatching(/batched|sequential/), hitRate: expect.any(Number), cache: "kvq3" });
    expect(body.models.tiny.hitRate).toBeGreaterThan(0.2);
    expect(body.models.tiny.cacheBytes).toBeLessThan(body.models.tiny.fp16Bytes);
    expect(body.models.tiny.layers).toHaveLength(4);
  });

  it("gives the same text for a seed, alone and beside seven others", async () => {
    const ask = (seed: number) => complete(text(40, seed * 200), { temperature: 1, seed });
    const alone = [];
    for (let seed = 1; seed <= 8; seed++) alone.push((await ask(seed)).choices[0]!.text);
    const together = await Promise.all(Array.from({ length: 8 }, (_, index) => ask(index + 1)));
    expect(together.map(({ choices }) => choices[0]!.text)).toEqual(alone);
    expect(new Set(alone).size).toBe(8);
  });

  it("answers several choices, each another one, and chooses with the model's own probabilities", async () => {
    const chat = await client.chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "Tell me something." }], n: 3, seed: 5, max_tokens: 12, logprobs: true, top_logprobs: 3 });
    expect(new Set(chat.choices.map(({ message }) => message.content)).size).toBe(3);
    for (const { logprobs } of chat.choices) {
      for (const { logprob, top_logprobs: top } of logprobs!.content!) {
        expect(logprob).toBeLessThanOrEqual(top[0]!.logprob);
        expect(top.reduce((sum, entry) => sum + Math.exp(entry.logprob), 0)).toBeLessThanOrEqual(1.000001);
      }
    }
    const greedy = await client.chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "Hi" }], temperature: 0, max_tokens: 6, logprobs: true, top_logprobs: 1 });
    for (const { token, top_logprobs: top } of greedy.choices[0]!.logprobs!.content!) expect(top[0]!.token).toBe(token);
  });

  it("obeys stop strings, biases and the length, and says which", async () => {
    const free = await complete(text(60));
    const word = / (\w{3,})/.exec(free.choices[0]!.text)![0];
    const stopped = await complete(text(60), { stop: word });
    expect([stopped.choices[0]!.text, stopped.choices[0]!.finish_reason]).toEqual([free.choices[0]!.text.split(word)[0], "stop"]);
    expect(free.choices[0]!.finish_reason).toBe("length");
    const { tokens } = (await server.post("/v1/tokenize", { model: "tiny", text: " king", add_special: false })).body;
    const biased = await complete(text(60), { logit_bias: { [tokens[0]]: 100 }, max_tokens: 3, logprobs: 0 });
    expect(new Set(biased.choices[0]!.logprobs!.tokens)).toEqual(new Set([(await server.post("/v1/tokenize", { model: "tiny", text: " king", add_special: false, pieces: true })).body.pieces[0]]));
  });

  it("refuses what can never fit with the numbers", async () => {
    await expect(complete(text(60), { max_tokens: 5000 })).rejects.toMatchObject({ status: 400, code: "context_length_exceeded", message: expect.stringMatching(/at most 2048 tokens.*5000/) });
    const small = await startTinyServer({ cache: "fp16", cacheBytes: "256 KiB" });
    expect(await small.post("/v1/completions", { model: "tiny", prompt: text(400), max_tokens: 900 })).toMatchObject({ status: 400, body: { error: { code: "cache_capacity_exceeded", message: expect.stringMatching(/\d/) } } });
    await small.close();
  });

  it("stops computing for a client that went away", async () => {
    const before = (await server.get("/v1/cache")).body.models.tiny;
    const controller = new AbortController();
    const stream = await client.completions.create({ model: "tiny", prompt: text(100), max_tokens: 1500, stream: true }, { signal: controller.signal });
    for await (const _ of stream) break;
    controller.abort();
    await expect.poll(async () => (await server.get("/v1/cache")).body.models.tiny, { timeout: 10_000 }).toMatchObject({ running: 0, cancelled: before.cancelled + 1 });
  });

  it("keeps a session, lists it, goes on from it, and forgets it", async () => {
    const first = await complete(text(200, 900), { session: "talk" });
    await expect.poll(async () => (await server.get("/v1/sessions")).body.data).toMatchObject([{ id: "talk", model: "tiny", tokens: expect.any(Number) }]);
    const more = await complete(text(200, 900) + first.choices[0]!.text + " And then", { session: "talk" });
    expect(cachedTokens(more)).toBeGreaterThanOrEqual(first.usage!.prompt_tokens - 64);
    expect((await fetch(`${server.url}/v1/sessions/talk`, { method: "DELETE" })).status).toBe(200);
    expect((await server.get("/v1/sessions")).body.data).toEqual([]);
  });

  it("scores requests against fp16 when idle, and exports how far they are apart", async () => {
    await complete(text(300, 3000), { max_tokens: 40 });
    await expect.poll(async () => (await server.get("/v1/fidelity")).body.models.tiny.samples, { timeout: 20_000 }).toBeGreaterThan(0);
    const figures = (await server.get("/v1/fidelity")).body.models.tiny;
    expect(figures).toMatchObject({ enabled: true, over: false, failed: 0, threshold: 10 });
    expect(figures.kldMean).toBeGreaterThan(0);
    expect(figures.kldMean).toBeLessThan(1);
    expect((await server.get("/metrics")).body).toMatch(/kvquant_fidelity_kld_mean\{model="tiny"\} [\d.e-]+/);
  });
});

describe("a server that ends and starts again", () => {
  it("finishes what it has, and finds its prefixes on disk afterwards", async () => {
    const model = { cache: await folder.artifact("kvq3") };
    const settings = { store: { path: join(folder.path, "pages") }, drainSeconds: 30 };
    const prompt = text(500, 2000);
    const request = { model: "tiny", prompt, max_tokens: 24, temperature: 0 };
    const before = await startTinyServer(model, settings);
    const pending = before.post("/v1/completions", request);
    await expect.poll(async () => (await before.get("/v1/cache")).body.models.tiny.running).toBe(1);
    await before.close();
    const first = await pending;
    expect(first.status).toBe(200);

    const after = await startTinyServer(model, settings);
    const again = await after.post("/v1/completions", request);
    expect(again.body.choices[0].text).toBe(first.body.choices[0].text);
    expect(again.body.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(300);
    expect((await after.get("/v1/cache")).body.models.tiny.store).toMatchObject({ damaged: 0 });
    await after.close();
  });

  it("serves several models, each with a cache of its own", async () => {
    const both = await startTinyServer([{ name: "small", cache: await folder.artifact("kvq3"), context: 100 }, { name: "exact", cache: "fp16" }]);
    const [small, exact] = await Promise.all(["small", "exact"].map((model) => both.post("/v1/completions", { model, prompt: text(40), max_tokens: 4, temperature: 0 })));
    expect([small!.body.model, exact!.body.model]).toEqual(["small", "exact"]);
    const { models } = (await both.get("/v1/cache")).body;
    expect([models.small.cache, models.small.contextLimit, models.exact.cache, models.exact.promptTokens]).toEqual(["kvq3", 100, "fp16", exact!.body.usage.prompt_tokens]);
    expect((await both.get("/v1/fidelity")).body.models).toMatchObject({ small: { enabled: true }, exact: { enabled: false } });
    await both.close();
    expect(both.logs.map(({ event }) => event)).toEqual(expect.arrayContaining(["configuration", "model-ready", "listening", "draining", "closed"]));
  });
});
