// An OpenAI-compatible server over a compressed cache, and a chat with it through the official client.
import { createLogger, loadConfiguration, startServer } from "@kvquant/server";
import OpenAI from "openai";

const flags = { model: "tiny", cache: "kvq3", port: "0" }; // those of `kvquant serve`; port 0 is any free one
const logger = createLogger({ level: "warn", format: "text", write: (line) => void process.stderr.write(line) });
const server = await startServer(loadConfiguration({ flags }), { logger });

const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any, since the server asks for none" });
const messages = [{ role: /** @type {const} */ ("user"), content: "Tell me about the whale. ".repeat(40) }]; // long enough for pages to close: the newest 64 tokens stay exact
const stream = await client.chat.completions.create({ model: "tiny", messages, temperature: 0, max_tokens: 40, stream: true, stream_options: { include_usage: true } });
let answer = "";
for await (const { choices, usage } of stream) {
  answer += choices[0]?.delta.content ?? "";
  if (!usage) continue; // comes with the last chunk
  const { cache_bytes: bytes, fp16_bytes: exact } = /** @type {any} */ (usage).kvquant; // what this server adds to OpenAI's figures
  console.log(`${usage.completion_tokens} tokens after ${usage.prompt_tokens} of the prompt; cache ${bytes} bytes, in fp16 ${exact}`);
}
console.log(`answer: ${answer}`);
await server.close();
