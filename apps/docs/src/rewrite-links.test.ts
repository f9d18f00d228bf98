/** Links of the repository's texts on their way into the site. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { rewriteLinks } from "./rewrite-links.mjs";

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "kvquant-docs-"));
  mkdirSync(join(root, "docs"));
  mkdirSync(join(root, "packages/quant"), { recursive: true });
  for (const file of ["docs/format.md", "docs/plan.md", "packages/quant/README.md", "packages/quant/code.ts"]) writeFileSync(join(root, file), "");
});
afterAll(() => rmSync(root, { recursive: true }));

const routes = new Map([["docs/format.md", "reference/format"], ["docs/plan.md", "how-to/plan"], ["packages/quant", "packages/quant"]]);
const rewrite = (markdown: string): string => rewriteLinks(markdown, { root, source: "packages/quant/README.md", route: "packages/quant", routes });

it("points links to the pages of the files they name, places within them included", () => {
  expect(rewrite("[format](../../docs/format.md#1-a-page) and [plan](../../docs/plan.md)")).toBe("[format](../reference/format.md#1-a-page) and [plan](../how-to/plan.md)");
  expect(rewrite("[`quant`](../quant/) in a row [`x`](https://example.org) [top](#top)")).toBe("[`quant`](quant.md) in a row [`x`](https://example.org) [top](#top)");
});

it("keeps the text of links to files without a page", () => {
  expect(rewrite("see [the `code`](code.ts).")).toBe("see the `code`.");
});

it("refuses links to files that do not exist", () => {
  expect(() => rewrite("[gone](gone.md)")).toThrow("packages/quant/README.md: links to gone.md, and there is no packages/quant/gone.md");
});

it("leaves code alone, inline and fenced", () => {
  const code = "`[a](gone.md)` and ``[`b`](gone.md)``\n```md\n[c](gone.md)\n```\n~~~~\n```\n[d](gone.md)\n~~~~";
  expect(rewrite(code)).toBe(code);
  expect(rewrite(`${code}\n[e](code.ts)`)).toBe(`${code}\ne`);
});
