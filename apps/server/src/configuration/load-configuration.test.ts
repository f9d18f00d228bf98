import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeConfiguration, loadConfiguration } from "./load-configuration.js";
import { addServerOptions } from "./settings.js";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "kvquant-configuration-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeConfiguration(content: unknown): string {
  const path = join(folder, "server.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** Options as the command line would parse them. */
function parseFlags(...argv: string[]): Record<string, unknown> {
  return addServerOptions(new Command().exitOverride()).parse(argv, { from: "user" }).opts();
}

describe("loadConfiguration", () => {
  it("serves smollm2 on loopback port 8080 when nothing is said", () => {
    expect(loadConfiguration()).toMatchObject({ host: "127.0.0.1", port: 8080, apiKeys: [], models: [{ name: "smollm2", source: "smollm2", cache: "kvq4", tail: 64, cacheBytes: 2 ** 30, prefixReuse: true }] });
  });

  it("takes flags before the environment, and that before the file", () => {
    const config = writeConfiguration({ port: 1, host: "file", drainSeconds: 5, models: [{ source: "tiny", cache: "fp16" }] });
    const environment = { KVQUANT_PORT: "2", KVQUANT_HOST: "environment", KVQUANT_CACHE_BYTES: "256 MiB", KVQUANT_TAIL: "" };
    const configuration = loadConfiguration({ flags: parseFlags("--config", config, "--port", "3"), environment });
    expect(configuration).toMatchObject({ port: 3, host: "environment", drainSeconds: 5, models: [{ source: "tiny", cache: "fp16", cacheBytes: 256 * 2 ** 20, tail: 64 }] });
  });

  it("reads several models, each with settings of its own and paths relative to the file", () => {
    const config = writeConfiguration({ models: [{ name: "a", source: "./a.gguf", cache: "./plan.kvq", quantizers: ["./mine.mjs"] }, { source: "tiny", context: 512, threads: 1, sinks: 2 }] });
    expect(loadConfiguration({ flags: { config } }).models).toMatchObject([
      { name: "a", source: join(folder, "a.gguf"), cache: join(folder, "plan.kvq"), quantizers: [join(folder, "mine.mjs")] },
      { name: "tiny", source: "tiny", context: 512, threads: 1, sinks: 2 },
    ]);
  });

  it.each<[string, Parameters<typeof loadConfiguration>[0], RegExp]>([
    ["a port that is none", { environment: { KVQUANT_PORT: "http" } }, /port: expected an integer from 0 to 65535, got "http" \(from KVQUANT_PORT\)/],
    ["a size that is none", { flags: parseFlags("--cache-bytes", "many") }, /models\.0\.cacheBytes: expected a size in bytes, or one such as 512 MiB, got "many" \(from --cache-bytes\)/],
    ["a short key, without showing it", { environment: { KVQUANT_API_KEYS: "hunter2" } }, /^(?!.*hunter2).*apiKeys\.0: expected a key of at least 8 characters.*from KVQUANT_API_KEYS/],
    ["a key that no header can carry, without showing it", { environment: { KVQUANT_API_KEYS: "schlüssel-zum-tor" } }, /^(?!.*zum-tor).*apiKeys\.0: expected a key .* of ASCII/],
    ["an unknown engine", { flags: parseFlags("--engine", "steam") }, /models\.0\.engine: expected "auto" or "native" or "reference", got "steam" \(from --engine\)/],
    ["a file that is not there", { flags: { config: "/nowhere.json" } }, /ENOENT for \/nowhere\.json/],
  ])("names the field and its origin for %s", (_title, sources, message) => {
    expect(() => loadConfiguration(sources)).toThrowError(message);
  });

  it.each(["5constructor", "99999999999TiB", "0", "0.5", "99999999999999999", "-1", "1e3", "12 parsecs", 0, -1, 0.5, 1e300])("takes no size from %j", (value) => {
    expect(() => loadConfiguration({ flags: { config: writeConfiguration({ limits: { bodyBytes: value } }) } })).toThrowError(/limits\.bodyBytes: expected a size in bytes, or one such as 512 MiB/);
  });

  it("names the file for what is wrong in it", () => {
    const load = (content: unknown) => () => loadConfiguration({ flags: { config: writeConfiguration(content) } });
    expect(load({ modles: [] })).toThrowError(/modles: expected a field that is known, got one that is not \(from .*server\.json\)/);
    expect(load({ models: [{ source: "tiny", tail: 0 }] })).toThrowError(/models\.0\.tail: expected an integer of at least 1, got 0/);
    expect(load({ models: [] })).toThrowError(/models: expected at least one model, got a list of 0/);
    expect(load({ models: [{ source: "tiny" }, { source: "tiny" }] })).toThrowError(/expected different names, got "tiny" twice/);
    expect(load({ store: { bytes: "1 GiB" } })).toThrowError(/store\.path: expected the path of a folder, or url beside it, got nothing/);
    expect(load({ store: { url: "unix:///run/valkey.sock" } })).toThrowError(/store\.url: expected an address such as redis:/); // the client knows none
    expect(load("{")).toThrowError(/expected JSON in .*server\.json/);
    expect(load([1])).toThrowError(/expected an object/);
  });

  it("refuses flags of one model where the file has several", () => {
    const config = writeConfiguration({ models: [{ source: "tiny" }, { name: "b", source: "tiny" }] });
    expect(() => loadConfiguration({ flags: { config, tail: "8" } })).toThrowError(/--tail: expected a configuration of one model, got a file with 2/);
  });
});

describe("describeConfiguration", () => {
  it("shows everything but keys and passwords", () => {
    const text = JSON.stringify(describeConfiguration(loadConfiguration({ environment: { KVQUANT_API_KEYS: "secret-one,secret-two", KVQUANT_STORE_URL: "redis://user:password@host:1/0" } })));
    expect(text).not.toMatch(/secret-|password/);
    expect(text).toContain("2 hidden");
    expect(text).toContain("redis://...@host:1/0");
  });
});
