// Mixed load on a server: every kind of request a client may send, right and wrong, with what each must answer.

/** @typedef {{ requests: number, compared: number, kinds: Record<string, number>, errors: string[] }} LoadCounts */
/** @typedef {(below: number) => number} Random an integer from 0 to `below` - 1 */
/** @typedef {{ url: string, model: string, text: string, random: Random, counts: LoadCounts, known: Map<string, string> }} LoadContext `text`: what prompts are cut from; `known`: the first answer to each question that has one answer */
/** @typedef {(context: LoadContext) => Promise<void>} Step */

const maximumErrors = 50;

/** One request, or a few that belong together. Never rejects: what is wrong becomes an error of the counts. @param {LoadContext} context */
export async function runStep(context) {
  const total = steps.reduce((sum, [weight]) => sum + weight, 0);
  let place = context.random(total);
  const [, name, step] = /** @type {typeof steps[number]} */ (steps.find(([weight]) => (place -= weight) < 0));
  context.counts.kinds[name] = (context.counts.kinds[name] ?? 0) + 1;
  try {
    await step(context);
  } catch (error) {
    report(context, `${name}: ${error instanceof Error ? `${error.message} ${error.cause instanceof Error ? error.cause.message : ""}` : String(error)}`);
  }
}

/** Weights, names and what is done. @type {[number, string, Step][]} */
const steps = [
  [20, "completion", completion],
  [15, "chat", chat],
  [5, "tools", tools],
  [5, "choices", choices],
  [10, "aborted stream", abortedStream],
  [10, "malformed", malformed],
  [5, "long prompt", longPrompt],
  [8, "session", session],
  [10, "tokenize", tokenize],
  [12, "figures", figures],
];

/** @param {LoadContext} context */
async function completion(context) {
  const family = context.random(4);
  const start = 400 * family;
  const prompt = context.text.slice(start, start + 500) + context.text.slice(9000 + 50 * context.random(6), 9400);
  await ask(context, "/v1/completions", { prompt, max_tokens: 16, temperature: 0, ignore_eos: true }, (body) => body.choices[0].text);
}

/** @param {LoadContext} context */
async function chat(context) {
  const messages = [{ role: "system", content: context.text.slice(0, 300) }, { role: "user", content: context.text.slice(500 + 60 * context.random(8), 700) }];
  await ask(context, "/v1/chat/completions", { messages, max_tokens: 16, temperature: 0 }, (body) => body.choices[0].message.content);
}

/** @param {LoadContext} context */
async function tools(context) {
  const tool = { type: "function", function: { name: `look_up_${context.random(3)}`, description: "Looks a word up.", parameters: { type: "object", properties: { word: { type: "string" } } } } };
  await ask(context, "/v1/chat/completions", { messages: [{ role: "user", content: "What is a fox?" }], tools: [tool], max_tokens: 12, temperature: 0 }, (body) => JSON.stringify(body.choices[0].message.content));
}

/** A seed decides an answer too. @param {LoadContext} context */
async function choices(context) {
  const prompt = context.text.slice(100 * context.random(5), 600);
  const { body } = await send(context, "/v1/completions", { prompt, max_tokens: 8, temperature: 0.9, seed: 7, n: 3, logprobs: 2 }, 200);
  compare(context, `choices ${prompt.length}`, JSON.stringify(body.choices.map((/** @type {{ text: string }} */ choice) => choice.text)));
}

/** @param {LoadContext} context */
async function abortedStream(context) {
  const abort = new AbortController();
  const start = 10 * context.random(500);
  const prompt = context.text.slice(start, start + 3000);
  try {
    const response = await fetch(`${context.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: context.model, prompt, max_tokens: 200, ignore_eos: true, stream: true }), signal: abort.signal });
    if (response.status !== 200) throw new Error(`expected 200, got ${response.status}`);
    const reader = response.body?.getReader();
    for (let events = context.random(5); events > 0; events--) await reader?.read();
    abort.abort();
    await reader?.read();
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  }
  context.counts.requests++;
}

/** @param {LoadContext} context */
async function malformed(context) {
  const { model } = context;
  /** @type {[string, unknown, number, string?][]} */
  const wrong = [
    ["/v1/completions", "{", 400],
    ["/v1/completions", { model, prompt: 7 }, 400],
    ["/v1/completions", { model: "another", prompt: "x" }, 404],
    ["/v1/completions", { model, prompt: "x", temprature: 1 }, 400],
    ["/v1/completions", { model, prompt: "word ".repeat(40_000) }, 400],
    ["/v1/completions", { model, prompt: [1e9] }, 400],
    ["/v1/chat/completions", { model, messages: [] }, 400],
    ["/v1/chat/completions", { model, messages: [{ role: "wizard", content: "x" }] }, 400],
    ["/v1/chat/completions", { model, messages: [{ role: "user", content: "x" }], metadata: "x".repeat(5_000_000) }, 413],
    ["/v1/chat/completions", `{"model":"${model}","messages":${"[".repeat(5000)}${"]".repeat(5000)}}`, 400],
    ["/v1/completions", { model, prompt: "x" }, 415, "text/plain"],
    ["/v1/nothing", {}, 404],
  ];
  const [path, body, status, type] = wrong[context.random(wrong.length)] ?? ["/v1/nothing", {}, 404];
  try {
    await send(context, path, body, status, type);
  } catch (error) {
    // The server hangs up on a body it does not want, and the client may still be sending it.
    if (status !== 413 || !(error instanceof TypeError)) throw error;
    context.counts.requests++;
  }
}

/** @param {LoadContext} context */
async function longPrompt(context) {
  const which = context.random(3);
  await ask(context, "/v1/completions", { prompt: context.text.slice(2000 * which, 2000 * which + 4500), max_tokens: 8, temperature: 0 }, (body) => body.choices[0].text);
}

/** A conversation in two turns, which is kept and forgotten again. @param {LoadContext} context */
async function session(context) {
  const id = `s${context.random(1_000_000)}`;
  const which = context.random(4);
  const prompt = context.text.slice(3000 + 500 * which, 3700 + 500 * which);
  const request = { max_tokens: 16, temperature: 0, ignore_eos: true, session: id };
  const first = (await send(context, "/v1/completions", { ...request, prompt }, 200)).body;
  const answer = first.choices[0].text;
  compare(context, `session ${which}`, answer);
  const second = (await send(context, "/v1/completions", { ...request, prompt: `${prompt}${answer} And then` }, 200)).body;
  // What was generated has other last bits than the same tokens in a prompt (docs/decisions/0008): there are two right answers, with the session's cache and, where it had to give way, without.
  const kept = second.usage.prompt_tokens_details.cached_tokens > first.usage.prompt_tokens;
  compare(context, `session ${which}, second turn, ${kept ? "kept" : "computed"}`, second.choices[0].text);
  const kind = kept ? "session kept" : "session computed again";
  context.counts.kinds[kind] = (context.counts.kinds[kind] ?? 0) + 1;
  await get(context, `/v1/sessions/${id}`);
  await get(context, "/v1/sessions");
  const response = await fetch(`${context.url}/v1/sessions/${id}`, { method: "DELETE" });
  await response.arrayBuffer();
  context.counts.requests++;
  if (response.status !== 200) throw new Error(`delete: expected 200, got ${response.status}`);
}

/** @param {LoadContext} context */
async function tokenize(context) {
  const start = 100 * context.random(20);
  const { body } = await send(context, "/v1/tokenize", { text: context.text.slice(start, start + 800), pieces: true }, 200);
  compare(context, `tokenize ${start}`, JSON.stringify(body.tokens));
}

/** @param {LoadContext} context */
async function figures(context) {
  const paths = ["/metrics", "/health", "/v1/cache", "/v1/fidelity", "/v1/metrics/history", "/v1/models", "/v1/sessions", "/"];
  await get(context, paths[context.random(paths.length)] ?? "/health");
}

/**
 * A question with one answer, asked at once or as a stream: the first answer is the one to give from then on.
 * @param {LoadContext} context @param {string} path @param {object} question @param {(body: any) => string} read
 */
async function ask(context, path, question, read) {
  const key = `${path} ${JSON.stringify(question)}`;
  if (context.random(2) === 0) return compare(context, key, read((await send(context, path, question, 200)).body));
  const { text } = await send(context, path, { ...question, stream: true, stream_options: { include_usage: true } }, 200);
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {")).map((event) => JSON.parse(event.slice(6)));
  if (!text.endsWith("data: [DONE]\n\n")) throw new Error(`expected a stream with an end, got ${text.slice(-200)}`);
  const whole = events.flatMap((event) => event.choices).map((choice) => choice.text ?? choice.delta.content ?? "").join("");
  compare(context, key, path.includes("chat") && "tools" in question ? JSON.stringify(whole) : whole);
}

/** @param {LoadContext} context @param {string} path @param {unknown} body a string is sent as it is, and an object with the model's name @param {number} status @param {string} [type] */
async function send(context, path, body, status, type = "application/json") {
  const sent = typeof body === "string" ? body : JSON.stringify({ model: context.model, .../** @type {object} */ (body) });
  const response = await fetch(context.url + path, { method: "POST", headers: { "content-type": type }, body: sent });
  const text = await response.text();
  context.counts.requests++;
  if (response.status !== status) throw new Error(`${path}: expected ${status}, got ${response.status}: ${text.slice(0, 300)}`);
  return { text, body: response.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : undefined };
}

/** @param {LoadContext} context @param {string} path */
async function get(context, path) {
  const response = await fetch(context.url + path);
  await response.arrayBuffer();
  context.counts.requests++;
  if (response.status !== 200) throw new Error(`${path}: expected 200, got ${response.status}`);
}

/** @param {LoadContext} context @param {string} key @param {string} answer */
function compare(context, key, answer) {
  const known = context.known.get(key);
  if (known === undefined) return void context.known.set(key, answer);
  context.counts.compared++;
  if (known !== answer) report(context, `another answer to ${key.slice(0, 120)}: ${JSON.stringify(known)}, then ${JSON.stringify(answer)}`);
}

/** @param {LoadContext} context @param {string} error */
function report({ counts }, error) {
  if (counts.errors.length < maximumErrors) counts.errors.push(error);
}
