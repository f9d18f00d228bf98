import { KvquantError } from "@kvquant/spec";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { createChatFormat } from "./chat/chat-format.js";
import { createScriptedServer, readEvents } from "./fixtures/scripted-server.js";
import type { ScriptedServer } from "./fixtures/scripted-server.js";

let server: ScriptedServer;
beforeEach(async () => void (server = await createScriptedServer()));

/** JSON of objects in objects. */
const nested = (levels: number): string => '{"a":'.repeat(levels) + "1" + "}".repeat(levels);
const hello = { model: "tiny", messages: [{ role: "user", content: "Hi" }] };

describe("POST /v1/chat/completions", () => {
  it("answers in OpenAI's form, with usage and cached tokens", async () => {
    server.engine.script = () => ({ text: "Hello there.", cachedTokens: 3 });
    const { status, body, headers } = await server.post("/v1/chat/completions", hello);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object: "chat.completion",
      model: "tiny",
      choices: [{ index: 0, message: { role: "assistant", content: "Hello there.", refusal: null }, finish_reason: "stop", logprobs: null }],
      usage: { prompt_tokens_details: { cached_tokens: 3 }, kvquant: { cache_bytes: 100, fp16_bytes: 400 } },
    });
    expect(body.usage.total_tokens).toBe(body.usage.prompt_tokens + body.usage.completion_tokens);
    expect(headers.get("x-request-id")).toMatch(/^[\w-]+$/);
  });

  it("streams a role, pieces, a reason, the usage when asked, and [DONE]", async () => {
    const { body, headers } = await server.post("/v1/chat/completions", { ...hello, stream: true, stream_options: { include_usage: true } });
    expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = readEvents(body);
    expect(events.at(-1)).toBe("[DONE]");
    const chunks = events.slice(0, -1);
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe("Hello there.");
    expect(chunks.at(-2).choices[0].finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: expect.any(Number) } });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(server.logs.find(({ event }) => event === "request")).toMatchObject({ status: 200, model: "tiny", completionTokens: expect.any(Number) });
  });

  it("hands sampling, stops and the seed to the engine, each choice with a seed of its own", async () => {
    await server.post("/v1/chat/completions", {
      ...hello, n: 2, temperature: 0.5, top_p: 0.9, top_k: 40, min_p: 0.05, repetition_penalty: 1.1, presence_penalty: 0.2, frequency_penalty: 0.3, logit_bias: { "7": -100 },
      seed: 11, stop: "\n", max_completion_tokens: 9, session: "talk-1", prefix_reuse: false, ignore_eos: true,
    });
    expect(server.engine.requests).toHaveLength(2);
    expect(server.engine.requests[0]).toMatchObject({
      maxTokens: 9, seed: 11, stop: ["\n"], stopAtEnd: false, session: "talk-1", prefixReuse: false,
      sampling: { temperature: 0.5, topP: 0.9, topK: 40, minP: 0.05, repetitionPenalty: 1.1, presencePenalty: 0.2, frequencyPenalty: 0.3, logitBias: new Map([[7, -100]]) },
    });
    expect(server.engine.requests[1]).toMatchObject({ seed: 12 });
    expect(server.engine.requests[1]).not.toHaveProperty("session");
  });

  it("reports logprobs token by token", async () => {
    const { body } = await server.post("/v1/chat/completions", { ...hello, logprobs: true, top_logprobs: 2 });
    const scores = body.choices[0].logprobs.content;
    expect(scores.map(({ token }: { token: string }) => token).join("")).toBe("Hello there.");
    expect(scores[0]).toMatchObject({ logprob: -0.5, bytes: [...Buffer.from(scores[0].token)], top_logprobs: [{ logprob: -0.5 }, { logprob: -1.5 }] });
    const streamed = readEvents((await server.post("/v1/chat/completions", { ...hello, logprobs: true, stream: true })).body);
    expect(streamed.flatMap((chunk) => chunk.choices?.[0]?.logprobs?.content ?? []).map(({ token }) => token).join("")).toBe("Hello there.");
  });

  it("passes tools through the template and gives calls back as calls", async () => {
    const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } }];
    server.engine.script = () => ({ text: 'One moment. <tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>' });
    const messages = [
      { role: "user", content: [{ type: "text", text: "Weather " }, { type: "text", text: "in Oslo?" }] },
      { role: "assistant", content: null, tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }] },
      { role: "tool", tool_call_id: "call_1", content: "rain" },
    ];
    const { body } = await server.post("/v1/chat/completions", { model: "tiny", messages, tools });
    const prompt = server.tokenizer.decode(server.engine.requests[0]!.prompt);
    expect(prompt).toContain("user: Weather in Oslo?");
    expect(prompt).toContain('"name": "weather"');
    expect(prompt).toContain('<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>');
    expect(prompt).toContain("tool: rain");
    expect(body.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: "One moment. ", tool_calls: [{ id: expect.stringMatching(/^call_/), type: "function", function: { name: "weather", arguments: '{"city":"Oslo"}' } }] },
    });
    const chunks = readEvents((await server.post("/v1/chat/completions", { model: "tiny", messages, tools, stream: true })).body);
    expect(chunks.flatMap((chunk) => chunk.choices?.[0]?.delta.tool_calls ?? [])).toMatchObject([{ index: 0, type: "function", function: { name: "weather" } }]);
    const two = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>\n<tool_call>{"name": "weather", "arguments": {"city": "Bergen"}}</tool_call>';
    server.engine.script = () => ({ text: two });
    const calls = async (parallel: boolean | undefined): Promise<number> => (await server.post("/v1/chat/completions", { model: "tiny", messages, tools, parallel_tool_calls: parallel })).body.choices[0].message.tool_calls.length as number;
    expect([await calls(undefined), await calls(true), await calls(false)]).toEqual([2, 2, 1]);
    // Without tools the same text is text.
    const plain = await server.post("/v1/chat/completions", hello);
    expect(plain.body.choices[0].message.content).toContain("<tool_call>");
  });

  it("refuses tools of a model whose template has no place for them", async () => {
    const plain = await createScriptedServer({}, { chat: createChatFormat(server.tokenizer, "plain") });
    const tools = [{ type: "function", function: { name: "f" } }];
    const { status, body } = await plain.post("/v1/chat/completions", { ...hello, tools });
    expect([status, body.error.code]).toEqual([400, "tools_not_supported"]);
    expect((await plain.post("/v1/chat/completions", { ...hello, tools, tool_choice: "none" })).status).toBe(200);
  });

  it.each<[string, object | string, number, string | null]>([
    ["no model", { messages: hello.messages }, 400, "model"],
    ["an unknown model", { ...hello, model: "gpt" }, 404, "model"],
    ["no messages", { model: "tiny" }, 400, "messages"],
    ["an empty conversation", { ...hello, messages: [] }, 400, "messages"],
    ["a role nobody has", { ...hello, messages: [{ role: "king", content: "x" }] }, 400, "messages.0.role"],
    ["a picture", { ...hello, messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }, 400, "messages.0.content"],
    ["an empty answer of the assistant", { ...hello, messages: [{ role: "assistant" }] }, 400, "messages.0.content"],
    ["arguments that are no JSON", { ...hello, messages: [{ role: "assistant", tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{" } }] }] }, 400, "messages.0.tool_calls.0.function.arguments"],
    ["a hot temperature", { ...hello, temperature: 3 }, 400, "temperature"],
    ["tokens by halves", { ...hello, max_tokens: 1.5 }, 400, "max_tokens"],
    ["too many choices", { ...hello, n: 17 }, 400, "n"],
    ["more tokens than fit", { ...hello, max_tokens: 5000 }, 400, "messages"],
    ["a JSON schema", { ...hello, response_format: { type: "json_schema", json_schema: {} } }, 400, "response_format.type"],
    ["a forced tool", { ...hello, tools: [], tool_choice: "required" }, 400, "tool_choice"],
    ["a field nobody knows", { ...hello, temprature: 1 }, 400, "temprature"],
    ["top_logprobs alone", { ...hello, top_logprobs: 2 }, 400, "top_logprobs"],
    ["stream_options alone", { ...hello, stream_options: { include_usage: true } }, 400, "stream_options"],
    ["a bias outside the vocabulary", { ...hello, logit_bias: { "99999": 1 } }, 400, "logit_bias"],
    ["a list", [1], 400, null],
    ["broken JSON", "{", 400, null],
    ["nothing", "", 400, null],
    ["a schema nested beyond all use", `{"model":"tiny","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":${nested(5000)}}}]}`, 400, null],
    ["arguments nested beyond all use", { ...hello, messages: [{ role: "assistant", tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: nested(5000) } }] }] }, 400, "messages.0.tool_calls.0.function.arguments"],
    ["a session of a longer name than the engine keeps", { ...hello, session: "s".repeat(101) }, 400, "session"],
  ])("answers %s with an error that names the field", async (_title, body, status, param) => {
    const answer = await server.post("/v1/chat/completions", body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ message: expect.stringMatching(/expected/), type: "invalid_request_error", param });
    expect(server.engine.requests).toHaveLength(0);
  });

  it("refuses a text that cannot fit before encoding it", async () => {
    const { status, body } = await server.post("/v1/chat/completions", { ...hello, messages: [{ role: "user", content: "x".repeat(1_000_000) }] });
    expect([status, body.error.code]).toEqual([400, "context_length_exceeded"]);
  });
});

describe("POST /v1/completions", () => {
  it("answers each prompt, by text or tokens, in order", async () => {
    server.engine.script = ({ prompt }) => ({ text: ` ${prompt.length} tokens` });
    const { body } = await server.post("/v1/completions", { model: "tiny", prompt: ["a", "a b c"], n: 2, echo: true });
    expect(body.choices.map(({ index, text }: { index: number; text: string }) => [index, text.split(" ")[0]])).toEqual([[0, "a"], [1, "a"], [2, "a"], [3, "a"]]);
    expect(body).toMatchObject({ object: "text_completion", usage: { prompt_tokens: server.engine.requests[0]!.prompt.length + server.engine.requests[2]!.prompt.length } });
    await server.post("/v1/completions", { model: "tiny", prompt: [5, 6, 7], max_tokens: 1 });
    expect(Array.from(server.engine.requests.at(-1)!.prompt)).toEqual([5, 6, 7]);
    expect(server.engine.requests.at(-1)!.maxTokens).toBe(1);
    expect(server.engine.requests[0]!.maxTokens).toBe(16);
  });

  it("counts prompts before it encodes any", async () => {
    const encode = vi.fn(server.tokenizer.encode);
    const counting = await createScriptedServer({}, { tokenizer: { ...server.tokenizer, encode } });
    const { status, body } = await counting.post("/v1/completions", { model: "tiny", prompt: new Array<string>(100_000).fill("word") });
    expect([status, body.error.param]).toEqual([400, "n"]);
    expect(encode).not.toHaveBeenCalled();
  });

  it("names the prompt when it is too long", async () => {
    const { status, body } = await server.post("/v1/completions", { model: "tiny", prompt: [5, 6], max_tokens: 5000 });
    expect([status, body.error.code, body.error.param]).toEqual([400, "context_length_exceeded", "prompt"]);
  });

  it("streams, and reports logprobs with offsets", async () => {
    const { body } = await server.post("/v1/completions", { model: "tiny", prompt: "x", logprobs: 1 });
    const { tokens, text_offset: offsets, token_logprobs: scores, top_logprobs: top } = body.choices[0].logprobs;
    expect(tokens.join("")).toBe("Hello there.");
    expect(offsets).toEqual(tokens.map((_: string, index: number) => tokens.slice(0, index).join("").length));
    expect([scores[0], Object.values(top[0])]).toEqual([-0.5, [-0.5]]);
    const events = readEvents((await server.post("/v1/completions", { model: "tiny", prompt: "x", stream: true })).body);
    expect(events.slice(0, -1).map((chunk) => chunk.choices[0].text).join("")).toBe("Hello there.");
  });

  it.each<[string, object, string]>([
    ["an empty prompt list", { prompt: [] }, "prompt"],
    ["ids outside the vocabulary", { prompt: [1, 999_999] }, "prompt"],
    ["negative ids", { prompt: [-1] }, "prompt.0"],
    ["best_of", { prompt: "x", best_of: 3 }, "best_of"],
    ["echo with logprobs", { prompt: "x", echo: true, logprobs: 1 }, "logprobs"],
    ["a suffix", { prompt: "x", suffix: "y" }, "suffix"],
  ])("refuses %s", async (_title, fields, param) => {
    const { status, body } = await server.post("/v1/completions", { model: "tiny", ...fields });
    expect([status, body.error.param]).toEqual([400, param]);
  });
});

describe("what goes wrong outside a request", () => {
  it("answers 429 with retry-after when the queue is full, and 400 for what can never fit", async () => {
    server.engine.capacity = 0;
    server.engine.waiting = 4;
    const full = await server.post("/v1/chat/completions", hello);
    expect([full.status, full.body.error.type, full.headers.get("retry-after")]).toEqual([429, "rate_limit_error", "1"]);
    server.engine.waiting = 0;
    const never = await server.post("/v1/chat/completions", { ...hello, stream: true });
    expect([never.status, never.body.error.code]).toEqual([400, "cache_capacity_exceeded"]);
  });

  it("answers 503 while draining, and says so to health checks", async () => {
    expect((await server.get("/health")).body).toEqual({ status: "ok", models: ["tiny"] });
    server.draining = true;
    expect(await server.get("/health")).toMatchObject({ status: 503, body: { status: "draining" } });
    expect((await server.post("/v1/chat/completions", hello)).status).toBe(503);
  });

  it("answers 504 when a request takes too long, and cancels it", async () => {
    const slow = await createScriptedServer({ limits: { requestSeconds: 0.05 } });
    slow.engine.script = () => ({ text: "never", milliseconds: 10_000 });
    const { status, body } = await slow.post("/v1/chat/completions", hello);
    expect([status, body.error.code]).toEqual([504, "timeout"]);
    expect(slow.engine.cancelled()).toBe(1);
    slow.engine.script = () => ({ text: "some words and then silence", milliseconds: 20 });
    const events = readEvents((await slow.post("/v1/chat/completions", { ...hello, stream: true })).body);
    expect(events.at(-1)).toMatchObject({ error: { code: "timeout", type: "server_error" } });
  });

  it("cancels the generation when the client goes away, while streaming or not", async () => {
    server.engine.script = () => ({ text: "a long story that nobody reads", milliseconds: 50 });
    const controller = new AbortController();
    const pending = server.post("/v1/chat/completions", hello, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    expect((await pending).status).toBe(499);
    const response = await server.app.request("/v1/chat/completions", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...hello, stream: true }) });
    await response.body!.cancel();
    await expect.poll(() => server.engine.cancelled()).toBe(2);
    expect(server.logs.filter(({ event, status }) => event === "request" && status === 499)).toHaveLength(2);
  });

  it("hides a defect from the client and logs it under the request's id", async () => {
    server.engine.script = () => ({ text: "x", failure: { at: 0, error: new TypeError("secret detail") } });
    const { status, body, headers } = await server.post("/v1/chat/completions", hello, { headers: { "x-request-id": "mine-1" } });
    expect([status, body.error.type, headers.get("x-request-id")]).toEqual([500, "server_error", "mine-1"]);
    expect(JSON.stringify(body)).not.toContain("secret detail");
    expect(server.logs.find(({ id }) => id === "mine-1")).toMatchObject({ level: "error", error: "secret detail", stack: expect.any(String) });
  });

  it("ends a stream with an error event, without [DONE], when the engine fails midway", async () => {
    server.engine.script = () => ({ text: "one two three", failure: { at: 2, error: new KvquantError("OUT_OF_CAPACITY", "no pages left") } });
    const events = readEvents((await server.post("/v1/chat/completions", { ...hello, stream: true })).body);
    expect(events.at(-1)).toMatchObject({ error: { message: "no pages left", type: "server_error" } });
    expect(events).not.toContain("[DONE]");
  });

  it("cancels every choice when one fails", async () => {
    let call = 0;
    server.engine.script = () => (call++ === 0 ? { text: "x", failure: { at: 0, error: new Error("broken") } } : { text: "a b c d e f", milliseconds: 1000 });
    expect((await server.post("/v1/chat/completions", { ...hello, n: 3 })).status).toBe(500);
    await expect.poll(() => server.engine.cancelled()).toBe(3);
  });
});

describe("limits and keys", () => {
  it("asks for a key, compares it with all of them, and leaves health open", async () => {
    const locked = await createScriptedServer({ apiKeys: ["key-number-one", "key-number-two", "a key of 8 characters or more"] });
    const ask = async (authorization?: string) => (await locked.get("/v1/models", authorization === undefined ? {} : { authorization })).status;
    expect([await ask(), await ask("Bearer nonsense-key"), await ask("key-number-one"), await ask("Bearer "), await ask("Bearer key-number-one"), await ask("bearer key-number-two")]).toEqual([401, 401, 401, 401, 200, 200]);
    expect([await ask("Bearer a key of 8 characters or more  "), await ask("Bearer a key of 8 characters"), await ask("Bearer key-number-one key-number-two")]).toEqual([200, 401, 401]);
    expect((await locked.post("/v1/chat/completions", hello)).body.error).toMatchObject({ code: "invalid_api_key", type: "authentication_error" });
    expect([(await locked.get("/health")).status, (await locked.get("/metrics")).status, (await locked.get("/v1/cache")).status]).toEqual([200, 401, 401]);
    expect(JSON.stringify(locked.logs)).not.toMatch(/key-number|nonsense-key/);
  });

  it("refuses a body that is too long, announced or not, without reading it all", async () => {
    const small = await createScriptedServer({ limits: { bodyBytes: 1000 } });
    const long = JSON.stringify({ ...hello, user: "x".repeat(2000) });
    const announced = await small.post("/v1/chat/completions", long, { headers: { "content-length": String(long.length) } });
    expect([announced.status, announced.body.error.code, announced.headers.get("connection")]).toEqual([413, "body_too_large", "close"]);
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent++;
        controller.enqueue(new Uint8Array(100).fill(32));
      },
    });
    const response = await small.app.request("/v1/chat/completions", { method: "POST", headers: { "content-type": "application/json" }, body: endless, duplex: "half" } as RequestInit);
    expect(response.status).toBe(413);
    expect(sent).toBeLessThan(20);
  });

  it("refuses bytes that are no UTF-8, and content of another type", async () => {
    expect(await server.post("/v1/chat/completions", Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d))).toMatchObject({ status: 400, body: { error: { message: expect.stringContaining("UTF-8") } } });
    expect((await server.post("/v1/chat/completions", hello, { headers: { "content-type": "text/plain" } })).status).toBe(415);
  });

  it("answers unknown addresses with 404 and wrong methods with 405", async () => {
    expect((await server.get("/v1/nothing")).body.error.code).toBe("not_found");
    expect((await server.get("/v1/chat/completions")).status).toBe(405);
    expect((await server.get("/../../package.json")).status).toBe(404);
    expect((await server.get("/%2e%2e/package.json")).status).toBe(404);
  });

  it("lets pages of listed origins in, and no others", async () => {
    const shared = await createScriptedServer({ origins: ["https://good.example"] });
    expect((await shared.get("/health", { origin: "https://good.example" })).headers.get("access-control-allow-origin")).toBe("https://good.example");
    expect((await shared.get("/health", { origin: "https://evil.example" })).headers.get("access-control-allow-origin")).toBeNull();
    const preflight = await shared.app.request("/v1/models", { method: "OPTIONS", headers: { origin: "https://good.example", "access-control-request-method": "GET" } });
    expect([preflight.status, preflight.headers.get("access-control-allow-methods")]).toEqual([204, "GET, POST, DELETE, OPTIONS"]);
  });
});

describe("routes that tell", () => {
  it("lists models, and one by name", async () => {
    expect((await server.get("/v1/models")).body).toMatchObject({ object: "list", data: [{ id: "tiny", object: "model", owned_by: "kvquant", kvquant: { cache: "kvq4", path: "batched", context: 2048, tools: "tagged-json" } }] });
    expect((await server.get("/v1/models/tiny")).body.id).toBe("tiny");
    expect((await server.get("/v1/models/other")).status).toBe(404);
  });

  it("tokenizes texts and conversations", async () => {
    const text = await server.post("/v1/tokenize", { model: "tiny", text: "Hello there", pieces: true, add_special: false });
    expect(text.body.pieces.join("")).toBe("Hello there");
    expect(text.body.count).toBe(text.body.tokens.length);
    await server.post("/v1/chat/completions", hello);
    expect((await server.post("/v1/tokenize", { model: "tiny", messages: hello.messages })).body.tokens).toEqual(Array.from(server.engine.requests[0]!.prompt));
    expect((await server.post("/v1/tokenize", { model: "tiny" })).status).toBe(400);
  });

  it("lists, shows and deletes sessions", async () => {
    server.engine.sessions = [{ id: "a", tokens: 64, bytes: 10, created: "2026-01-01T00:00:00Z", stored: "memory" }];
    expect((await server.get("/v1/sessions")).body.data).toMatchObject([{ id: "a", model: "tiny", tokens: 64 }]);
    expect((await server.get("/v1/sessions/a")).body.id).toBe("a");
    const remove = () => server.app.request("/v1/sessions/a", { method: "DELETE" });
    expect([(await remove()).status, (await remove()).status, (await server.get("/v1/sessions/a")).status]).toEqual([200, 404, 404]);
  });

  it("shows the cache, fidelity, metrics and their history", async () => {
    server.engine.script = () => ({ text: "Hello there.", cachedTokens: 2 });
    await server.post("/v1/chat/completions", hello);
    const cache = (await server.get("/v1/cache")).body.models.tiny;
    expect(cache).toMatchObject({ cacheBytes: 1000, fp16Bytes: 4000, contextLimit: 2048, hitRate: 2 / server.engine.requests[0]!.prompt.length });
    expect((await server.get("/v1/fidelity")).body).toEqual({ models: { tiny: { enabled: false } } });
    const text = (await server.get("/metrics")).body as string;
    expect(text).toMatch(/kvquant_requests_total\{endpoint="\/v1\/chat\/completions",model="tiny",status="200"\} 1/);
    expect(text).toMatch(/kvquant_cached_tokens_total\{model="tiny"\} 2/);
    expect(text).toMatch(/kvquant_first_token_seconds_count\{model="tiny"\} 1/);
    expect(text).toMatch(/kvquant_event_loop_delay_seconds_bucket/);
    server.history.tick();
    const { series, times } = (await server.get("/v1/metrics/history")).body;
    expect(times).toHaveLength(1);
    expect(series.generatedTokensPerSecond[0]).toBeGreaterThan(0);
    expect(Object.values(series).every((list) => (list as unknown[]).length === 1)).toBe(true);
  });
});
