import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasProgram, startGateway } from "./fixtures/run-gateway.js";
import type { Gateway, GatewayKind } from "./fixtures/run-gateway.js";
import { startValkey } from "./fixtures/start-valkey.js";
import type { Valkey } from "./fixtures/start-valkey.js";
import { tinyText } from "../fixtures/tiny-artifact.js";
import { makeTinyFolder, startTinyServer } from "../fixtures/tiny-server.js";
import type { TinyFolder, TinyServer } from "../fixtures/tiny-server.js";

const gateways = (["nginx", "haproxy"] as const).filter((kind) => hasProgram(kind));

/** Two servers with the real engine, the model `tiny` and one Valkey (or Redis) between them. */
describe.skipIf(!hasProgram("redis-server") && !hasProgram("valkey-server"))("replicas that share a Valkey", () => {
  let folder: TinyFolder;
  let valkey: Valkey;
  let replicas: [TinyServer, TinyServer];

  beforeAll(async () => {
    folder = makeTinyFolder();
    valkey = await startValkey();
    const cache = await folder.artifact("kvq3");
    const start = () => startTinyServer({ cache, snapshotTokens: 64 }, { store: { url: valkey.url } });
    replicas = [await start(), await start()];
  });
  afterAll(async () => {
    for (const replica of replicas) await replica.close();
    await valkey.kill();
    folder.remove();
  });

  const prompt = (from: number, question: string): string => `${tinyText().slice(from, from + 900)}\n${question}`;
  const body = (text: string, seed: number): object => ({ model: "tiny", prompt: text, max_tokens: 24, temperature: 0.9, seed });
  const cachedOf = (usage: { prompt_tokens_details: { cached_tokens: number } }): number => usage.prompt_tokens_details.cached_tokens;
  const figures = async (replica: TinyServer) => (await replica.get("/v1/cache")).body.models.tiny;

  /** Waits until a replica has written what it had to. */
  async function settle(replica: TinyServer): Promise<void> {
    let before = -1;
    for (let written = 0; written === 0 || written !== before; written = (await figures(replica)).store.written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  }

  it("answer a prefix that the other one computed without computing it again, with the same text for the same seed", async () => {
    const [first, second] = replicas;
    const alone = (await first.post("/v1/completions", body(prompt(0, "And then"), 7))).body;
    expect(cachedOf(alone.usage)).toBe(0);
    await settle(first);
    const other = (await second.post("/v1/completions", body(prompt(0, "And then"), 7))).body;
    expect(other.choices[0].text).toBe(alone.choices[0].text);
    expect(cachedOf(other.usage)).toBeGreaterThan(alone.usage.prompt_tokens - 130);
    // Another end of the same beginning: what is shared comes from the first one, the rest is computed.
    const branch = (await second.post("/v1/completions", body(prompt(0, "But before that"), 8))).body;
    expect(cachedOf(branch.usage)).toBeGreaterThan(100);
    expect((await first.post("/v1/completions", body(prompt(0, "But before that"), 8))).body.choices[0].text).toBe(branch.choices[0].text);
    expect((await figures(second)).store).toMatchObject({ id: "valkey", damaged: 0, failed: 0 });
    expect((await figures(second)).store.hits).toBeGreaterThan(0);
  });

  for (const kind of ["nginx", "haproxy"] as const satisfies readonly GatewayKind[]) {
    describe.skipIf(!gateways.includes(kind))(`behind ${kind}`, () => {
      let gateway: Gateway;
      beforeAll(async () => {
        gateway = await startGateway(kind, [new URL(replicas[0].url).host, new URL(replicas[1].url).host]);
      });
      afterAll(() => gateway.close());

      it("gets requests of one prefix to one replica, and goes on with its pages at the other when that one is named", async () => {
        const ask = async (text: string, headers: Record<string, string> = {}) => {
          const answer = await fetch(`${gateway.url}/v1/completions`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body(text, 3)) });
          expect(answer.status).toBe(200);
          return { replica: answer.headers.get("x-kvquant-replica"), ...((await answer.json()) as { choices: { text: string }[]; usage: { prompt_tokens_details: { cached_tokens: number } } }) };
        };
        const from = kind === "nginx" ? 4_000 : 8_000;
        const first = await ask(prompt(from, "What next?"));
        expect(cachedOf(first.usage)).toBe(0);
        for (const question of ["Who was it?", "Where did it end?"]) {
          const next = await ask(prompt(from, question));
          expect(next.replica).toBe(first.replica);
          expect(cachedOf(next.usage)).toBeGreaterThan(100);
        }
        for (const replica of replicas) if ((await figures(replica)).store.written > 0) await settle(replica);
        for (let key = 0; ; key++) {
          const moved = await ask(prompt(from, "What next?"), { "x-kvquant-affinity": `elsewhere ${key}` });
          expect(moved.choices[0]!.text).toBe(first.choices[0]!.text);
          expect(cachedOf(moved.usage)).toBeGreaterThan(100);
          if (moved.replica !== first.replica) break;
        }
      });
    });
  }
});
