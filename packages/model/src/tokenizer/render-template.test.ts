import { expect, test } from "vitest";
import { renderTemplate } from "./render-template.js";

const unsupported = (message: RegExp) => expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(message) as string }) as Error;
const values = { messages: [{ role: "user", content: "Hi" }] };

test("a template that counts without end is stopped", () => {
  const loop = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
  expect(() => renderTemplate(loop, values)).toThrow(unsupported(/within 1000 ms.*loops/));
  expect(renderTemplate("{{ messages[0].content }}", values)).toBe("Hi");
});

test("a template that doubles its text is refused before anything reads it", () => {
  const doubling = `${"{% set x = 'ab' %}"}${"{% set x = x ~ x %}".repeat(27)}{{ x }}`;
  expect(() => renderTemplate(doubling, values)).toThrow(unsupported(/repeats itself/));
  expect(() => renderTemplate("{{ messages | tojson(indent=400000000) }}", values)).toThrow(/repeats itself|string length/);
});

test("a range that would fill the memory is refused", () => {
  expect(() => renderTemplate("{% for a in range(1000000000) %}{% endfor %}", values)).toThrow(/at most 100000/);
});

test.each([
  ["range(3)", "0,1,2,"],
  ["range(2, 5)", "2,3,4,"],
  ["range(5, 0, -2)", "5,3,1,"],
  ["range(0)", ""],
  ["range(4, 1)", ""],
])("%s is what Python makes of it", (call, text) => {
  expect(renderTemplate(`{% for i in ${call} %}{{ i }},{% endfor %}`, {})).toBe(text);
});

test("white space at the start of a template is treated as without the limits", () => {
  expect(renderTemplate("\n  {% if true %}\n x{% endif %}", {})).toBe("\n x");
});
