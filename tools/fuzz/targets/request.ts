/** Bodies of requests through the whole server, over a scripted engine: an answer is 200 or 4xx, and nothing is logged as an error. */

import { createScriptedServer } from "../../../apps/server/src/fixtures/scripted-server.js";
import { obeyAsync } from "../law.js";

const paths = ["/v1/chat/completions", "/v1/completions", "/v1/tokenize"];
const server = await createScriptedServer();
server.engine.script = () => ({ text: 'Hi. <tool_call>{"name": "f", "arguments": {}}</tool_call>' });

const tool = { type: "function", function: { name: "f", description: "does", parameters: { type: "object", properties: { city: { type: "string" } } } } };
const call = { id: "1", type: "function", function: { name: "f", arguments: '{"city":"Oslo"}' } };

export function seeds(): Uint8Array[] {
  const chat = { model: "tiny", messages: [{ role: "system", content: "Be brief." }, { role: "user", content: [{ type: "text", text: "Hi" }] }], max_tokens: 3 };
  const bodies: [number, object][] = [
    [0, { ...chat, temperature: 0.5, top_p: 0.9, seed: 1, stop: ["x"], n: 2, logprobs: true, top_logprobs: 2, presence_penalty: 1, frequency_penalty: -1, logit_bias: { "5": 1 }, user: "u", metadata: { a: 1 } }],
    [0, { ...chat, stream: true, stream_options: { include_usage: true }, tools: [tool], tool_choice: "auto", session: "s", top_k: 4, min_p: 0.1, repetition_penalty: 1.1, ignore_eos: true, prefix_reuse: false }],
    [0, { model: "tiny", max_completion_tokens: 2, messages: [{ role: "user", content: "<|eos|>", name: "n" }, { role: "assistant", content: null, tool_calls: [call] }, { role: "tool", content: "4", tool_call_id: "1" }], tools: [tool], response_format: { type: "text" } }],
    [1, { model: "tiny", prompt: "Once", max_tokens: 2, temperature: 0, logprobs: 1, echo: true, n: 1, best_of: 1, stream: false, parse_special: false }],
    [1, { model: "tiny", prompt: [[1, 2], [3]], max_tokens: 1, stream: true, stop: "a" }],
    [2, { model: "tiny", text: "Hello <|eos|>", add_special: true, parse_special: false, pieces: true }],
    [2, { model: "tiny", messages: chat.messages, tools: [tool] }],
  ];
  return bodies.map(([path, body]) => Uint8Array.of(path, ...new TextEncoder().encode(JSON.stringify(body))));
}

/** The first byte chooses the address. */
export async function fuzz(data: Uint8Array): Promise<void> {
  server.logs.length = 0;
  server.engine.requests.length = 0;
  await obeyAsync(data.length, async () => {
    const response = await server.app.request(paths[(data[0] ?? 0) % paths.length]!, { method: "POST", headers: { "content-type": "application/json" }, body: data.slice(1) });
    const text = await response.text();
    const good = response.status === 200 || (response.status >= 400 && response.status < 500);
    const failed = server.logs.find((entry) => entry["level"] === "error");
    // In the server's own JSON: what clients send has its quotes escaped.
    if (!good || failed !== undefined || text.includes('"code":"internal_error"')) throw new Error(`expected 200 or 4xx, got ${response.status}: ${text.slice(0, 300)} ${JSON.stringify(failed)}`);
    if (response.status !== 200 && typeof (JSON.parse(text) as { error: { message: unknown } }).error.message !== "string") throw new Error(`expected an error in OpenAI's form, got ${text.slice(0, 300)}`);
  });
}
