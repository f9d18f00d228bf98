import { once } from "node:events";
import { connect } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { malformedRequests } from "./fixtures/malformed-requests.js";
import type { MalformedRequest } from "./fixtures/malformed-requests.js";
import { makeTinyFolder, startTinyServer } from "./fixtures/tiny-server.js";
import type { TinyFolder, TinyServer } from "./fixtures/tiny-server.js";

/** `KVQUANT_MALFORMED=1000 npx vitest run apps/server/src/malformed` runs a thousand. */
const count = Number(process.env["KVQUANT_MALFORMED"] ?? 330);
const seed = Number(process.env["KVQUANT_SEED"] ?? 1);
/** Growth of the heap after collection that is no leak: tables of code and of metrics still fill. */
const allowedGrowth = 12 * 2 ** 20;

let folder: TinyFolder;
let server: TinyServer;
beforeAll(async () => {
  folder = makeTinyFolder();
  server = await startTinyServer({ cache: await folder.artifact("kvq3") }, { limits: { bodyBytes: 256 * 1024, receiveSeconds: 5 }, log: { level: "silent" } });
});
afterAll(async () => {
  await server.close();
  folder.remove();
});

/** Status of the answer, or 0 when the server hung up or the client left first. */
async function send({ bytes, leaveAfter }: MalformedRequest): Promise<number> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  let text = "";
  const ended = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      if (text.length < 100) text += chunk.toString("latin1");
    });
    // A server that refuses a long body hangs up while it is being sent.
    socket.on("error", () => resolve());
    socket.on("close", () => resolve());
  });
  await once(socket, "connect");
  socket.write(bytes);
  if (leaveAfter === undefined) socket.on("data", () => undefined);
  const limit = setTimeout(() => socket.destroy(), leaveAfter ?? 20_000);
  await ended;
  clearTimeout(limit);
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function heapBytes(): number {
  collect();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

const good = { model: "tiny", prompt: "Once upon a time", max_tokens: 4, temperature: 0 };

describe(`${count} malformed requests`, () => {
  it("get the right status, leave nothing behind, and do not disturb those that are right", async () => {
    const before = await server.post("/v1/completions", good);
    expect(before.status).toBe(200);
    const wrong: string[] = [];
    const kinds = new Map<string, number>();
    let heap: number | undefined;
    const requests = malformedRequests(count, seed);
    for (const [index, request] of requests.entries()) {
      if (index === Math.floor(count / 4)) heap = heapBytes();
      const status = await send(request);
      kinds.set(`${request.kind} ${status}`, (kinds.get(`${request.kind} ${status}`) ?? 0) + 1);
      if (!request.right.includes(status)) wrong.push(`${index} ${request.kind}: expected ${request.right.join(" or ")}, got ${status}: ${request.bytes.subarray(0, 400).toString("latin1")}`);
      if (index % 100 === 99) expect((await server.post("/v1/completions", good)).body.choices[0].text).toBe(before.body.choices[0].text);
    }
    expect(wrong).toEqual([]);
    // What clients left is no longer computed.
    await expect.poll(async () => (await server.get("/v1/cache")).body.models.tiny, { timeout: 10_000 }).toMatchObject({ running: 0, waiting: 0, failed: 0 });
    const growth = heapBytes() - heap!;
    if (count >= 1000) console.log(`${count} requests, heap ${(heap! / 2 ** 20).toFixed(1)} MiB after a quarter, ${(growth / 2 ** 20).toFixed(1)} MiB more at the end; ${JSON.stringify(Object.fromEntries([...kinds].sort()))}`);
    expect(growth).toBeLessThan(allowedGrowth);
    expect((await server.post("/v1/completions", good)).body.choices[0].text).toBe(before.body.choices[0].text);
  }, 600_000);
});
