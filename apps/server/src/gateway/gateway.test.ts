import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasProgram, startGateway } from "./fixtures/run-gateway.js";
import type { Gateway } from "./fixtures/run-gateway.js";
import { listenScripted } from "../fixtures/listening-server.js";
import type { ListeningServer } from "../fixtures/listening-server.js";

for (const kind of ["nginx", "haproxy"] as const) {
  describe.skipIf(!hasProgram(kind))(`gateway ${kind}, with the configuration of deploy/`, () => {
    let replicas: ListeningServer[] = [];
    let gateway: Gateway;

    beforeAll(async () => {
      replicas = [await listenScripted(), await listenScripted()];
      gateway = await startGateway(kind, [new URL(replicas[0]!.url).host, new URL(replicas[1]!.url).host]);
    });
    afterAll(async () => {
      await gateway.close();
      for (const replica of replicas) await replica.close();
    });

    const chat = (system: string, question: string, headers: Record<string, string> = {}) =>
      fetch(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "tiny", messages: [{ role: "system", content: system }, { role: "user", content: question }] }),
      });
    const counts = () => replicas.map(({ scripted }) => scripted.engine.requests.length);
    /** Which replica answered. */
    const ask = async (system: string, question: string, headers: Record<string, string> = {}): Promise<number> => {
      const before = counts();
      const answer = await chat(system, question, headers);
      expect(answer.status).toBe(200);
      await answer.text();
      return counts().findIndex((count, index) => count > before[index]!);
    };
    const prompts = Array.from({ length: 24 }, (_, index) => `Assistant number ${index}. ${"You answer from the handbook. ".repeat(30)}`);

    it("sends requests with the same beginning to the same replica, and different ones to both", async () => {
      const first: number[] = [];
      for (const prompt of prompts) {
        const chosen = await ask(prompt, "first question");
        for (const question of ["second question", "and a third one, rather longer than the others"]) expect(await ask(prompt, question)).toBe(chosen);
        first.push(chosen);
      }
      expect(new Set(first)).toEqual(new Set([0, 1]));
    });

    it("goes by what the client says is shared, where it says so", async () => {
      const chosen = await Promise.all(["a", "b", "c", "d", "e", "f", "g", "h"].map(async (key) => {
        const one = await chat(prompts[0]!, "x", { "x-kvquant-affinity": key });
        const other = await chat("quite another beginning", "y", { "x-kvquant-affinity": key });
        expect(one.headers.get("x-kvquant-replica")).toBe(other.headers.get("x-kvquant-replica"));
        return one.headers.get("x-kvquant-replica");
      }));
      expect(new Set(chosen).size).toBe(2);
    });

    it("sends tokens on as they come", async () => {
      for (const { scripted } of replicas) scripted.engine.script = () => ({ text: "one two three four five six", milliseconds: 60 });
      const answer = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tiny", stream: true, messages: [{ role: "user", content: "count" }] }) });
      let pieces = 0;
      for await (const _ of answer.body!) pieces++;
      expect(pieces).toBeGreaterThan(4);
      for (const { scripted } of replicas) scripted.engine.script = () => ({ text: "Hello there." });
    });

    it("passes a hang-up on, so that the replica stops", async () => {
      const cancelled = () => replicas.reduce((sum, { scripted }) => sum + scripted.engine.cancelled(), 0);
      for (const { scripted } of replicas) scripted.engine.script = () => ({ text: "word ".repeat(500), milliseconds: 30 });
      const before = cancelled();
      const hangUp = new AbortController();
      const answer = await fetch(`${gateway.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tiny", stream: true, prompt: "go on", max_tokens: 500 }), signal: hangUp.signal });
      await answer.body!.getReader().read();
      hangUp.abort();
      while (cancelled() === before) await new Promise((resolve) => setTimeout(resolve, 10));
      for (const { scripted } of replicas) scripted.engine.script = () => ({ text: "Hello there." });
    });

    it("lets the other replica answer for one that takes nothing new or is gone", async () => {
      replicas[0]!.scripted.draining = true; // what the scripted server's own flag cannot do for a listening one is done by closing it
      await replicas[0]!.close();
      for (const prompt of prompts) expect(await ask(prompt, "is anyone there?")).toBe(1);
    });
  });
}
