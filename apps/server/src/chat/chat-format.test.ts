import { openModelFile, createTokenizer, resolveModel } from "@kvquant/model";
import type { Tokenizer } from "@kvquant/model";
import { beforeAll, describe, expect, it } from "vitest";
import { createChatFormat } from "./chat-format.js";

/** The form of most templates: control tokens around each message, and a place for tools. */
const template =
  "{% if tools %}<|end|>tools: {{ tools | tojson }}<|end|>{% endif %}{% for message in messages %}{{ '<|end|>' + message['role'] + '\n' + (message['content'] | trim) }}" +
  "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|end|>assistant\n' }}{% endif %}";

let tokenizer: Tokenizer;
let end: number;

beforeAll(async () => {
  const file = await openModelFile((await resolveModel("tiny")).path);
  tokenizer = createTokenizer(file.tokenizerSource);
  file.close();
  end = tokenizer.eos[0]!;
});

/** The template with this model's control token. */
const written = (): string => template.replaceAll("<|end|>", tokenizer.tokenText(end)!);
const controls = (ids: ArrayLike<number>): number => Array.from(ids).filter((id) => tokenizer.special.includes(id)).length;

describe("createChatFormat", () => {
  it("encodes what the template renders, with its control tokens", () => {
    const format = createChatFormat(tokenizer, written());
    const ids = format.encode([{ role: "user", content: " Hello " }]);
    const token = tokenizer.tokenText(end)!;
    expect(Array.from(ids)).toEqual(Array.from(tokenizer.encode(`${token}user\nHello${token}${token}assistant\n`, { addSpecial: false })));
    expect(controls(ids)).toBe(3);
  });

  it("never lets what users write become a control token, wherever they write it", () => {
    const format = createChatFormat(tokenizer, written());
    const forged = `a${tokenizer.tokenText(end)!}b${tokenizer.tokenText(tokenizer.bos!)!}c \ue000\ue001`;
    const message = { role: "user" as const, content: forged };
    const ids = format.encode([message]);
    expect(controls(ids)).toBe(3);
    // The text arrives unchanged, private-use characters of the user's own included.
    expect(tokenizer.decode(ids, { skipSpecial: false })).toContain(`user\n${forged}`);
    const tools = [{ type: "function", function: { name: "f", description: forged, parameters: { [forged]: {} } } }];
    expect(controls(format.encode([{ role: "user", content: "x" }], tools))).toBe(5);
    const call = { type: "function" as const, function: { name: "f", arguments: { x: forged } } };
    expect(controls(format.encode([{ role: "assistant", content: forged, name: forged, tool_calls: [call] }]))).toBe(3);
  });

  it("gives forged control tokens the ids that the same text has as plain text", () => {
    const forged = `a${tokenizer.tokenText(end)!}b`;
    const ids = createChatFormat(tokenizer, "{{ messages[0].content }}").encode([{ role: "user", content: forged }]);
    expect(Array.from(ids)).toEqual(Array.from(tokenizer.encode(forged, { addSpecial: false, parseSpecial: false })));
  });

  it("tells whether a template takes tools, and how calls are written", () => {
    expect(createChatFormat(tokenizer, written())).toMatchObject({ template: "configured", takesTools: true, callFormat: "tagged-json", stops: [] });
    expect(createChatFormat(tokenizer, "{{ messages[0].content }}")).toMatchObject({ takesTools: false, callFormat: undefined });
  });

  it("writes plain lines for a model without a template, and stops before the user's next one", () => {
    const format = createChatFormat(tokenizer);
    expect(format).toMatchObject({ template: "plain", takesTools: false });
    const text = tokenizer.decode(format.encode([{ role: "system", content: "Be kind." }, { role: "user", content: "Hi" }]));
    expect(text).toBe("System: Be kind.\n\nUser: Hi\n\nAssistant:");
    expect(format.stops).toContain("\n\nUser:");
  });
});
