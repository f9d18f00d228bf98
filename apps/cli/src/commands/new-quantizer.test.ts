import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { loadCustomQuantizers } from "@kvquant/artifacts";
import { makePage, makeStatistics, findBrokenLaws } from "@kvquant/quant/testing";
import { runText } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

const model = fileURLToPath(new URL("../../../../packages/model/fixtures/stories260k", import.meta.url));
const library = fileURLToPath(new URL("../../../../packages/quant/dist/index.js", import.meta.url));
const folder = useCacheFolder();

beforeAll(async () => {
  expect(await runText(["new-quantizer", "my-idea", "--parent", folder, "--json"])).toMatchObject({ code: 0 });
});

describe("kvquant new-quantizer", () => {
  it("writes a quantizer of at most 60 lines, its test, package.json and README, named alike", () => {
    const made = join(folder, "my-idea");
    expect(readdirSync(made).sort()).toEqual(["README.md", "node_modules", "package.json", "quantizer.mjs", "quantizer.test.mjs"]);
    const source = readFileSync(join(made, "quantizer.mjs"), "utf8");
    expect(source.trimEnd().split("\n").length).toBeLessThanOrEqual(60);
    expect(JSON.parse(readFileSync(join(made, "package.json"), "utf8"))).toMatchObject({ name: "my-idea", type: "module", scripts: { test: "node --test" } });
    expect(readFileSync(join(made, "README.md"), "utf8")).toContain("--caches fp16,my-idea,int4-token");
  });

  it("overwrites nothing", async () => {
    const path = join(folder, "my-idea", "quantizer.mjs");
    const before = readFileSync(path, "utf8");
    writeFileSync(path, `${before}// mine\n`);
    const { code, stderr } = await runText(["new-quantizer", "my-idea", "--parent", folder]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/error INVALID_ARGUMENT: new-quantizer: expected a folder that does not exist yet/);
    expect(readFileSync(path, "utf8")).toBe(`${before}// mine\n`);
    writeFileSync(path, before);
  });

  it("makes one that keeps every law", async () => {
    const { presets } = await loadCustomQuantizers([join(folder, "my-idea", "quantizer.mjs")]);
    const { key, value } = presets.get("my-idea")!;
    const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 64 };
    const statistics = makeStatistics({ shape, windows: 1 }).layers[0]!;
    const page = makePage(shape);
    expect(findBrokenLaws({ quantizer: key, statistics, page: page.k, nmse: 0.5 })).toEqual([]);
    expect(findBrokenLaws({ quantizer: value, statistics, page: page.v, nmse: 0.1 })).toEqual([]);
  });

  it("makes one that gives a row of the table at once", async () => {
    const text = join(folder, "text.txt");
    writeFileSync(text, "Once upon a time Tom saw a big dog and ran to his mom. ".repeat(60));
    const calibration = ["--calibration-data", text, "--sequences", "1", "--length", "160", "--sensitivity", "none"];
    const { code, stdout } = await runText(["eval", model, "--data", text, ...calibration, "--context", "128", "--windows", "1", "--tail", "0", "--caches", "fp16,my-idea", "--quantizer", join(folder, "my-idea", "quantizer.mjs")]);
    expect(code).toBe(0);
    // 4 heads of 8 channels: 4 bits, and 16 for each head of a token.
    expect(stdout).toMatch(/^my-idea +0 +6\.00 +6\.00 +6\.00/m);
  });

  it.skipIf(!existsSync(library))("makes a test that passes, and fails when the quantizer is broken (skipped before the first build)", () => {
    const made = join(folder, "my-idea");
    const test = (): string => execFileSync(process.execPath, ["--test"], { cwd: made, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NODE_OPTIONS: "" } });
    // Spawned in a folder of its own, with the built library behind its link.
    expect(test()).toMatch(/# pass 4/);
    const path = join(made, "quantizer.mjs");
    const source = readFileSync(path, "utf8");
    writeFileSync(path, source.replace("+ 2 * tokens * kvHeads", "+ 2 * tokens * kvHeads + 1000").replace("read(bytes, tokens, out) {", "read(bytes, tokens, out) {\n            bytes = bytes.slice().fill(0, 9, 90);"));
    expect(test).toThrowError(expect.objectContaining({ stdout: expect.stringMatching(/breaks \d law/) as string }));
    writeFileSync(path, source);
  });
});
