/** Chat templates, which come with a model's file: any text, over a conversation with tools. */

import { createTokenizer } from "../../../packages/model/src/model-files.js";
import { toolTemplate } from "../../../apps/server/src/fixtures/scripted-server.js";
import { createChatFormat } from "../../../apps/server/src/chat/chat-format.js";
import { plainTemplate } from "../../../apps/server/src/chat/plain-template.js";
import { obey } from "../law.js";

const tokens = ["<|eos|>", "a", "b", "ab", "c", "d", "e", "f", "g", "\u0120"];
const tokenizer = createTokenizer({ kind: "gguf", metadata: new Map<string, unknown>([["tokenizer.ggml.model", "gpt2"], ["tokenizer.ggml.pre", "llama-bpe"], ["tokenizer.ggml.tokens", tokens], ["tokenizer.ggml.token_type", [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]], ["tokenizer.ggml.merges", ["a b"]], ["tokenizer.ggml.eos_token_id", 0]]) });

export const words = ["{%", "%}", "{{", "}}", "{#", "#}", "-%}", "{%- ", "for x in messages", "endfor", "if ", "elif ", "else", "endif", "set x = ", "endset", "macro m(a)", "endmacro", "range(", "namespace(", "| join", "| tojson", "| upper", "| sort", "| map(attribute='role')", "| selectattr('role', 'equalto', 'user')", "loop.index0", "loop.last", "is defined", "not in", "strftime_now('%Y')", "raise_exception('x')", "messages[1:]", "messages[::-1]", ".split(' ')", ".strip()", "| list", "| length", "| replace('a', 'b')", "| indent(4)", "break", "continue", "call m()", "endcall", "filter upper", "endfilter", "generation", "~", "**", "//", "'a' * 3"];

export function seeds(): Uint8Array[] {
  const more = [
    "{% macro m(a) %}{{ a | upper }}{% endmacro %}{% for i in range(3) %}{{ m('x') ~ i }}{% endfor %}",
    "{%- set ns = namespace(found=false) -%}{% for message in messages[::-1] %}{% if message.role == 'user' and not ns.found %}{% set ns.found = true %}{{ message.content.split(' ') | join('-') }}{% endif %}{% endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}{{ tools | tojson(indent=2) }}{{ strftime_now('%d %b %Y') }}",
  ];
  return [toolTemplate, plainTemplate, ...more].map((text) => new TextEncoder().encode(text));
}

const messages = [
  { role: "system" as const, content: "be brief" },
  { role: "user" as const, content: "a <|eos|> b" },
  { role: "assistant" as const, content: "", tool_calls: [{ type: "function" as const, function: { name: "f", arguments: { x: 1 } } }] },
  { role: "tool" as const, content: "4", tool_call_id: "1" },
];
const tools = [{ type: "function", function: { name: "f", description: "d", parameters: {} } }];

export function fuzz(data: Uint8Array): void {
  const template = new TextDecoder().decode(data);
  if (template === "plain") return;
  obey(data.length, () => void createChatFormat(tokenizer, template).encode(messages, tools));
}
