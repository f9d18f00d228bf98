import OpenAI, { APIError, APIUserAbortError, AuthenticationError, NotFoundError } from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listenScripted } from "./fixtures/listening-server.js";
import type { ListeningServer } from "./fixtures/listening-server.js";

const key = "key-of-the-test";
const messages = [{ role: "user" as const, content: "Hi" }];
let server: ListeningServer;
let client: OpenAI;

beforeEach(async () => {
  server = await listenScripted({ apiKeys: [key], drainSeconds: 0.2 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 });
});
afterEach(() => server.close());

describe("the official openai client, unchanged, over a socket", () => {
  it("chats", async () => {
    server.scripted.engine.script = () => ({ text: "Hello there.", cachedTokens: 3 });
    const answer = await client.chat.completions.create({ model: "tiny", messages, n: 2, logprobs: true, top_logprobs: 1 });
    expect(answer.choices.map(({ message, finish_reason }) => [message.content, finish_reason])).toEqual([["Hello there.", "stop"], ["Hello there.", "stop"]]);
    expect(answer.choices[0]!.logprobs!.content![0]!.top_logprobs).toHaveLength(1);
    expect(answer.usage!.prompt_tokens_details!.cached_tokens).toBe(3);
    expect(answer._request_id).toMatch(/^[\w-]{36}$/);
  });

  it("streams, with usage", async () => {
    const stream = await client.chat.completions.create({ model: "tiny", messages, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe("Hello there.");
    expect(usage!.completion_tokens).toBeGreaterThan(0);
  });

  it("puts a stream together again with its own helper, calls of tools too", async () => {
    server.scripted.engine.script = () => ({ text: 'Wait. <tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>' });
    const tools = [{ type: "function" as const, function: { name: "weather", parameters: { type: "object", properties: {} } } }];
    const final = await client.chat.completions.stream({ model: "tiny", messages, tools }).finalChatCompletion();
    expect(final.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: "Wait. ", tool_calls: [{ function: { name: "weather", arguments: '{"city":"Oslo"}' } }] } });
  });

  it("runs its tool loop: a call, the tool's answer, the model's", async () => {
    let turn = 0;
    server.scripted.engine.script = () => ({ text: turn++ === 0 ? '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>' : "It rains in Oslo." });
    const asked: unknown[] = [];
    const runner = client.chat.completions.runTools({
      model: "tiny",
      messages,
      tools: [{ type: "function", function: { name: "weather", description: "Weather of a city", parameters: { type: "object", properties: { city: { type: "string" } } }, parse: JSON.parse, function: (given: unknown) => (asked.push(given), "rain") } }],
    });
    expect(await runner.finalContent()).toBe("It rains in Oslo.");
    expect(asked).toEqual([{ city: "Oslo" }]);
    expect(server.scripted.tokenizer.decode(server.scripted.engine.requests[1]!.prompt)).toContain("tool: rain");
  });

  it("completes texts, streamed and not", async () => {
    const answer = await client.completions.create({ model: "tiny", prompt: ["a", "b"], max_tokens: 8, logprobs: 1 });
    expect(answer.choices.map(({ text, index }) => [index, text])).toEqual([[0, "Hello there."], [1, "Hello there."]]);
    let text = "";
    for await (const chunk of await client.completions.create({ model: "tiny", prompt: "a", stream: true })) text += chunk.choices[0]!.text;
    expect(text).toBe("Hello there.");
  });

  it("lists models", async () => {
    const names = [];
    for await (const { id } of client.models.list()) names.push(id);
    expect(names).toEqual(["tiny"]);
    expect((await client.models.retrieve("tiny")).owned_by).toBe("kvquant");
  });

  it("throws its own kinds of errors", async () => {
    const thief = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "another-key", maxRetries: 0 });
    await expect(thief.models.list()).rejects.toBeInstanceOf(AuthenticationError);
    await expect(client.chat.completions.create({ model: "gpt", messages })).rejects.toBeInstanceOf(NotFoundError);
    const error = await client.chat.completions.create({ model: "tiny", messages, temperature: 9 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error", message: expect.stringContaining("expected a number from 0 to 2, got 9") });
  });

  it("throws when a stream fails midway", async () => {
    server.scripted.engine.script = () => ({ text: "one two three", failure: { at: 2, error: new Error("broken") } });
    const read = async (): Promise<void> => {
      for await (const _ of await client.chat.completions.create({ model: "tiny", messages, stream: true }));
    };
    await expect(read()).rejects.toBeInstanceOf(APIError);
  });

  it("aborts, and the server stops computing", async () => {
    server.scripted.engine.script = () => ({ text: "a long story that nobody will ever read to its end", milliseconds: 30 });
    const controller = new AbortController();
    const pending = client.chat.completions.create({ model: "tiny", messages }, { signal: controller.signal });
    await expect.poll(() => server.scripted.engine.requests.length).toBe(1);
    controller.abort();
    await expect(pending).rejects.toBeInstanceOf(APIUserAbortError);
    await expect.poll(() => server.scripted.engine.cancelled()).toBe(1);

    const stream = await client.chat.completions.create({ model: "tiny", messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await expect.poll(() => server.scripted.engine.cancelled()).toBe(2);
    await expect.poll(() => server.scripted.logs.filter(({ status }) => status === 499).length).toBe(2);
  });
});
