/** What a model writes, cut into calls of tools: no text is lost or made up, however it comes in pieces. */

import { createToolCallParser } from "../../../apps/server/src/chat/tool-call-parser.js";
import type { ParsedPiece } from "../../../apps/server/src/chat/tool-call-parser.js";
import { obey } from "../law.js";

export const words = ["<tool_call>", "</tool_call>", '{"name": "f", "arguments": {}}', "<tool", "_call>"];

export function seeds(): Uint8Array[] {
  return ['a <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call> b', "<tool_call>{</tool_call>", "a < b <tool_cal"].map((text) => new TextEncoder().encode(text));
}

export function fuzz(data: Uint8Array): void {
  const text = new TextDecoder().decode(data);
  obey(data.length, () => {
    const whole = parse([text]);
    const pieces = parse(text.match(/[^]{1,3}/g) ?? []);
    if (JSON.stringify(whole) !== JSON.stringify(pieces)) throw new Error(`expected the same from one piece and many, got ${JSON.stringify(whole)} and ${JSON.stringify(pieces)}`);
    if (!text.includes("</tool_call>") && whole.text !== text) throw new Error(`expected the text as it came, got ${JSON.stringify(whole.text)}`);
  });
}

function parse(pieces: readonly string[]): { text: string; calls: unknown[] } {
  const parser = createToolCallParser();
  const parts: ParsedPiece[] = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return { text: parts.map(({ text }) => text).join(""), calls: parts.flatMap(({ calls }) => calls) };
}
