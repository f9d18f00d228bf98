import { afterEach, describe, expect, it } from "vitest";
import { run } from "../run.js";

const controllers: AbortController[] = [];
afterEach(() => controllers.splice(0).forEach((controller) => controller.abort()));

/** Starts a command that goes on until it is told to end. */
function start(...argv: string[]) {
  const controller = new AbortController();
  controllers.push(controller);
  const output = { stdout: "", stderr: "" };
  const sink = (name: "stdout" | "stderr") => ({ write: (text: string) => void (output[name] += text) });
  const code = run(argv, { stdout: sink("stdout"), stderr: sink("stderr"), signal: controller.signal });
  const listening = async (): Promise<string> => {
    await Promise.race([code, expect.poll(() => output.stdout, { timeout: 60_000 }).toMatch(/listening on \S+\n/)]);
    return /listening on (\S+)/.exec(output.stdout)![1]!;
  };
  return { output, code, listening, stop: () => controller.abort() };
}

const tiny = ["serve", "tiny", "--cache", "fp16", "--port", "0", "--threads", "1"];

describe("kvquant serve", () => {
  it("serves a model until it is told to stop, says where, and logs JSON lines", async () => {
    const server = start(...tiny);
    const url = await server.listening();
    const response = await fetch(`${url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tiny", prompt: "Once upon", max_tokens: 3 }) });
    expect([response.status, ((await response.json()) as { usage: { completion_tokens: number } }).usage.completion_tokens]).toEqual([200, 3]);
    server.stop();
    expect(await server.code).toBe(0);
    const events = server.output.stderr.trim().split("\n").map((line) => (JSON.parse(line) as { event: string }).event);
    expect(events).toEqual(expect.arrayContaining(["configuration", "model-ready", "listening", "request", "draining", "closed"]));
  });

  it("shows the effective configuration and ends", async () => {
    const shown = start("serve", "--model", "tiny", "--cache-bytes", "1 MiB", "--api-key", "do-not-show-me", "--show-config");
    expect(await shown.code).toBe(0);
    expect(JSON.parse(shown.output.stdout)).toMatchObject({ models: [{ name: "tiny", cacheBytes: 2 ** 20 }], apiKeys: "1 hidden" });
    expect(shown.output.stdout).not.toContain("do-not-show-me");
  });

  it.each([
    [["serve", "--port", "http"], /INVALID_ARGUMENT: configuration: port: expected an integer from 0 to 65535, got "http" \(from --port\)/],
    [["serve", "nothing-like-it"], /model "nothing-like-it": expected a path, tiny, smollm2/],
    [["serve", "tiny", "--cache", "kvq99"], /cache: expected one of fp16/],
    [["serve", "tiny", "--cache", "fp16", "--chat-template", "/nowhere.jinja"], /chatTemplate: expected the path of a Jinja template/],
  ])("fails with what was expected: %j", async (argv, message) => {
    const failed = start(...argv, "--log-level", "silent");
    expect(await failed.code).toBe(1);
    expect(failed.output.stderr).toMatch(message);
  });
});

describe("kvquant serve with two models", () => {
  it("is refused instead of one of them served", async () => {
    const failed = start("serve", "tiny", "--model", "smollm2", "--show-config");
    expect(await failed.code).toBe(2);
    expect(failed.output.stderr).toMatch(/expected one model, got tiny and --model smollm2/);
    expect(await start("serve", "tiny", "--model", "tiny", "--show-config").code).toBe(0);
  });
});

describe("kvquant bench serve", () => {
  it.each([
    ["nonsense", 2, /INVALID_ARGUMENT: --url: expected an address such as/],
    ["127.0.0.1:8080", 2, /INVALID_ARGUMENT: --url: expected an address such as/],
    ["http://127.0.0.1:1", 1, /UNAVAILABLE: load: expected a whole answer from http:\/\/127.0.0.1:1, got a connection that failed/],
  ])("of %s fails with what was expected", async (url, code, message) => {
    const failed = start("bench", "serve", "tiny", "--url", url, "--clients", "1", "--rounds", "1", "--prefix", "10");
    expect([await failed.code, failed.output.stderr]).toEqual([code, expect.stringMatching(message)]);
  });

  it("measures a running server", async () => {
    const server = start(...tiny);
    const url = await server.listening();
    const bench = start("bench", "serve", "tiny", "--url", `${url}/`, "--clients", "2", "--rounds", "2", "--prefix", "300", "--question", "20", "--tokens", "8", "--json");
    expect(await bench.code).toBe(0);
    const { rows } = JSON.parse(bench.output.stdout) as { rows: { requests: number; completionTokens: number; promptTokens: number; cachedTokens: number; loopP99Seconds: number }[] };
    expect(rows).toMatchObject([{ requests: 4, completionTokens: 32 }]);
    expect(rows[0]!.promptTokens).toBeGreaterThan(4 * 310);
    expect(rows[0]!.cachedTokens).toBeGreaterThan(300);
    expect(rows[0]!.loopP99Seconds).toBeGreaterThan(0);
  });
});
