import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { listenScripted } from "../fixtures/listening-server.js";
import { runLoad } from "./run-load.js";
import { delayQuantile, scrapeDelays } from "./scrape-delays.js";

describe("runLoad", () => {
  it("sends what it says, and adds up what the server tells", async () => {
    const server = await listenScripted({ drainSeconds: 0.2 });
    const { engine, tokenizer } = server.scripted;
    engine.script = ({ prompt }) => ({ text: "one two three", milliseconds: 2, cachedTokens: prompt.length - 1 });
    const before = await scrapeDelays(server.url);
    const report = await runLoad({ url: server.url, model: "tiny", clients: 2, rounds: 2, prefix: "Once ", questions: ["a", "b", "c", "d"], tokens: 50 });
    const prompts = engine.requests.map(({ prompt }) => tokenizer.decode(prompt));
    expect(prompts.map((prompt) => prompt.trim()).sort()).toEqual(["Once a", "Once b", "Once c", "Once d"]);
    expect(engine.requests.every(({ maxTokens, stopAtEnd }) => maxTokens === 50 && stopAtEnd === false)).toBe(true);
    const promptTokens = engine.requests.reduce((sum, { prompt }) => sum + prompt.length, 0);
    const perAnswer = tokenizer.encode("one two three", { addSpecial: false }).length;
    expect(report).toMatchObject({ requests: 4, promptTokens, cachedTokens: promptTokens - 4, completionTokens: 4 * perAnswer });
    expect(report.tokensPerSecond).toBeCloseTo(report.completionTokens / report.seconds, 6);
    expect(report.firstTokenSeconds.median).toBeGreaterThan(0);
    expect(report.firstTokenSeconds.maximum).toBeLessThanOrEqual(report.seconds);
    expect(delayQuantile(before!, (await scrapeDelays(server.url))!, 0.99)).toBeGreaterThan(0);
    await server.close();
  });

  it("gives no figure when a request fails", async () => {
    const server = await listenScripted({ drainSeconds: 0.2 });
    const run = () => runLoad({ url: server.url, model: "tiny", clients: 1, rounds: 1, prefix: "x", questions: ["a"], tokens: 5 });
    server.scripted.engine.script = () => ({ text: "one two", failure: { at: 1, error: new Error("broken") } });
    await expect(run()).rejects.toThrowError(/expected a whole answer/);
    server.scripted.engine.capacity = 0;
    await expect(run()).rejects.toThrowError(/got 400/);
    await server.close();
  });
});

describe("a server that dies", () => {
  it("before or amid an answer is UNAVAILABLE, with its address", async () => {
    for (const beginning of ["", 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n12\r\ndata: {"choices":[]}\r\n']) {
      const server = createServer((socket) => void socket.once("data", () => socket.end(beginning, () => socket.destroy())));
      await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await expect(runLoad({ url, model: "tiny", clients: 1, rounds: 1, prefix: "x", questions: ["a"], tokens: 5 })).rejects.toMatchObject({ name: "KvquantError", code: "UNAVAILABLE", message: expect.stringContaining(url) as string });
      server.close();
      await expect(scrapeDelays(url)).rejects.toMatchObject({ name: "KvquantError", code: "UNAVAILABLE", message: expect.stringContaining(url) as string });
    }
  });
});

describe("delayQuantile", () => {
  it("takes the bound that holds the share of the samples since the first look", () => {
    const before = new Map([[0.01, 100], [0.05, 100], [Infinity, 100]]);
    const after = new Map([[0.01, 190], [0.05, 199], [Infinity, 200]]);
    expect([delayQuantile(before, after, 0.5), delayQuantile(before, after, 0.99), delayQuantile(before, after, 0.999)]).toEqual([0.01, 0.05, Infinity]);
  });
});
