import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createToolCallParser } from "./tool-call-parser.js";
import type { ParsedCall } from "./tool-call-parser.js";

function parse(pieces: readonly string[]): { text: string; calls: ParsedCall[] } {
  const parser = createToolCallParser();
  const parts = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return { text: parts.map(({ text }) => text).join(""), calls: parts.flatMap(({ calls }) => calls) };
}

const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>';

describe("createToolCallParser", () => {
  it("cuts calls out of the text around them", () => {
    expect(parse([`Let me see. ${call}${call} Done.`])).toEqual({
      text: "Let me see.  Done.",
      calls: [{ name: "weather", arguments: '{"city":"Oslo"}' }, { name: "weather", arguments: '{"city":"Oslo"}' }],
    });
  });

  it("finds the same calls however the text is cut into pieces", () => {
    const whole = `a < b ${call} and <tool_cal`;
    const expected = parse([whole]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (sizes) => {
        const pieces: string[] = [];
        for (let start = 0, index = 0; start < whole.length; index++) {
          const size = sizes[index % sizes.length]!;
          pieces.push(whole.slice(start, start + size));
          start += size;
        }
        expect(parse(pieces)).toEqual(expected);
      }),
    );
  });

  it.each(["<tool_call>{]</tool_call>", "<tool_call>[]</tool_call>", '<tool_call>{"name": 1}</tool_call>', "<tool_call>{", "x <tool"])("leaves %s as text", (text) => {
    expect(parse([text])).toEqual({ text, calls: [] });
  });
});
