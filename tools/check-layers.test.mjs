import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkLayers } from "./check-layers.mjs";

/** @type {string} */
let root;

/** @param {Record<string, string | object>} files content by path; objects are written as JSON */
function writeTree(files) {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === "string" ? content : JSON.stringify(content));
  }
}

/** Two packages, spec below quant, and an app, all sound. */
function writeSoundTree() {
  writeTree({
    "package.json": { name: "root", devDependencies: { vitest: "1.0.0" } },
    "packages/spec/package.json": { name: "@kvquant/spec" },
    "packages/spec/src/index.ts": `export type { A } from "./a.js";`,
    "packages/spec/src/a.ts": `export interface A { readonly x: number }`,
    "packages/quant/package.json": { name: "@kvquant/quant", dependencies: { "@kvquant/spec": "workspace:*" } },
    "packages/quant/src/index.ts": `import { join } from "node:path";\nimport type { A } from "@kvquant/spec";\nexport const a: A = { x: join("a").length };`,
    "packages/quant/src/index.test.ts": `import { it } from "vitest";\nimport { a } from "./index.js";\nit("is", () => a);`,
    "apps/cli/package.json": { name: "kvquant", dependencies: { "@kvquant/quant": "workspace:*" } },
    "apps/cli/src/index.ts": `export { a } from "@kvquant/quant";`,
  });
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kvquant-layers-"));
  writeSoundTree();
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

describe("checkLayers", () => {
  it("accepts imports that go down, builtins, and test libraries of the root in tests", () => {
    expect(checkLayers(root)).toEqual([]);
  });

  it.each([
    ["a static import", `import { a } from "@kvquant/quant";`],
    ["a type import", `import type { a } from "@kvquant/quant";`],
    ["a re-export", `\n\nexport * from "@kvquant/quant";`],
    ["a dynamic import", `export const load = () => import("@kvquant/quant");`],
    ["an import type in a type", `export type B = typeof import("@kvquant/quant").a;`],
    ["a subpath", `import { b } from "@kvquant/quant/testing";`],
  ])("refuses %s that goes up the layers, and names its line", (_name, code) => {
    writeTree({ "packages/spec/src/up.ts": code });
    const line = code.split("\n").length;
    expect(checkLayers(root)).toEqual([expect.stringMatching(new RegExp(`^packages/spec/src/up\\.ts:${line}: @kvquant/quant.* is not below @kvquant/spec$`))]);
  });

  it("is not misled by comments and strings that look like imports", () => {
    writeTree({ "packages/spec/src/text.ts": `// import "@kvquant/quant"\nexport const text = 'import x from "@kvquant/quant"';` });
    expect(checkLayers(root)).toEqual([]);
  });

  it("refuses a declared dependency that goes up, even when nothing imports it", () => {
    writeTree({ "packages/spec/package.json": { name: "@kvquant/spec", dependencies: { "@kvquant/quant": "workspace:*" } } });
    expect(checkLayers(root)).toEqual(["packages/spec/package.json: depends on @kvquant/quant, which is not below it"]);
  });

  it("refuses an undeclared dependency, inside the workspace and outside", () => {
    writeTree({
      "packages/quant/src/more.ts": `import yauzl from "yauzl";\nexport const y = yauzl;`,
      "apps/cli/src/more.ts": `export type { A } from "@kvquant/spec";`,
    });
    expect(checkLayers(root).sort()).toEqual([
      "apps/cli/src/more.ts:1: @kvquant/spec is not declared in the package.json of kvquant",
      "packages/quant/src/more.ts:1: yauzl is not declared in the package.json of @kvquant/quant",
    ]);
  });

  it("refuses a test library in published code", () => {
    writeTree({ "packages/quant/src/more.ts": `import { it } from "vitest";` });
    expect(checkLayers(root)).toEqual(["packages/quant/src/more.ts:1: vitest is not declared in the package.json of @kvquant/quant"]);
  });

  it("refuses a relative path into another package", () => {
    writeTree({ "packages/quant/src/more.ts": `export * from "../../spec/src/a.js";` });
    expect(checkLayers(root)).toEqual(["packages/quant/src/more.ts:1: ../../spec/src/a.js leaves the sources of @kvquant/quant"]);
  });

  it("refuses a package that is not in the list of layers", () => {
    writeTree({ "packages/mystery/package.json": { name: "@kvquant/mystery" } });
    expect(checkLayers(root)).toEqual(["packages/mystery: not in the list of layers in tools/check-layers.mjs"]);
  });

  it("refuses a cycle between files and shows its path", () => {
    writeTree({
      "packages/spec/src/b.ts": `import { c } from "./c.js";\nexport const b = () => c;`,
      "packages/spec/src/c.ts": `import { d } from "./inner/index.js";\nexport const c = () => d;`,
      "packages/spec/src/inner/index.ts": `import type { b } from "../b.js";\nexport type D = typeof b;\nexport const d = 1;`,
    });
    expect(checkLayers(root)).toEqual(["import cycle: packages/spec/src/b.ts -> packages/spec/src/c.ts -> packages/spec/src/inner/index.ts -> packages/spec/src/b.ts"]);
  });
});
