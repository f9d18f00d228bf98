import { connect } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { listenScripted } from "./fixtures/listening-server.js";

const body = JSON.stringify({ model: "tiny", messages: [{ role: "user", content: "Hi" }], stream: true });
const post = (url: string, text = body) => fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: text });

/** Sends bytes as they are and gives the first line of the answer, and whether the server hung up. */
async function sendRaw(url: string, parts: readonly (string | Buffer)[]): Promise<{ line: string; closed: boolean }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  let text = "";
  let closed = false;
  socket.on("data", (chunk: Buffer) => void (text += chunk.toString("latin1")));
  socket.on("error", () => void (closed = true));
  socket.on("close", () => void (closed = true));
  for (const part of parts) socket.write(part);
  await expect.poll(() => text !== "" || closed, { timeout: 5000 }).toBe(true);
  const line = text.split("\r\n")[0]!;
  await expect.poll(() => closed, { timeout: 3000 }).toBe(true).catch(() => undefined);
  socket.destroy();
  return { line, closed };
}

describe("a listening server", () => {
  it("lets answers under way end when it is told to go, takes nothing new, and frees everything once", async () => {
    const server = await listenScripted({ drainSeconds: 20 });
    server.scripted.engine.script = () => ({ text: "a story that takes a while", milliseconds: 30 });
    const response = await post(server.url);
    const closing = server.close();
    expect(server.close()).toBe(closing);
    await expect(post(server.url)).rejects.toThrow(); // nobody listens any more
    expect(await response.text()).toContain("[DONE]");
    await closing;
    expect(server.freed()).toBe(1);
    expect(server.scripted.engine.cancelled()).toBe(0);
    expect(server.scripted.logs.map(({ event }) => event)).toEqual(expect.arrayContaining(["listening", "draining", "closed"]));
  });

  it("ends answers that take longer than it may wait, with an error", async () => {
    const server = await listenScripted({ drainSeconds: 0.2 });
    server.scripted.engine.script = () => ({ text: "a story that takes for ever", milliseconds: 100_000 });
    const response = await post(server.url);
    const closing = server.close();
    expect(await response.text()).toContain("server_shutting_down");
    await closing;
    expect(server.freed()).toBe(1);
  });

  it("answers a body that is too long before it has been sent, and hangs up", async () => {
    const server = await listenScripted({ limits: { bodyBytes: 1000 }, drainSeconds: 0.2 });
    const head = (length: string) => `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${length}\r\n\r\n`;
    expect(await sendRaw(server.url, [head("content-length: 1000000000"), "{"])).toEqual({ line: "HTTP/1.1 413 Payload Too Large", closed: true });
    const chunk = `7d0\r\n${"x".repeat(2000)}\r\n`;
    expect(await sendRaw(server.url, [head("transfer-encoding: chunked"), chunk])).toEqual({ line: "HTTP/1.1 413 Payload Too Large", closed: true });
    await server.close();
  });

  it("hangs up on clients that send too slowly, or no HTTP", async () => {
    const server = await listenScripted({ limits: { receiveSeconds: 0.2 }, drainSeconds: 0.2 });
    expect((await sendRaw(server.url, ["POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-le"])).closed).toBe(true);
    expect(await sendRaw(server.url, [Buffer.from([0, 1, 2, 255, 13, 10, 13, 10])])).toMatchObject({ line: "HTTP/1.1 400 Bad Request", closed: true });
    await server.close();
  });

  it("hangs up on clients that do not read their answer", async () => {
    const server = await listenScripted({ limits: { requestSeconds: 1, receiveSeconds: 1 }, drainSeconds: 0.2 });
    Object.assign(server.scripted.model, { contextLimit: 1e9 });
    // More than the buffers between the two take; without a listener for data nothing is read.
    const request = JSON.stringify({ model: "tiny", prompt: "word ".repeat(200_000), echo: true, n: 16, max_tokens: 1, stream: true });
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname, () => socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${request.length}\r\n\r\n${request}`));
    const ended = () => server.scripted.logs.filter(({ event }) => event === "request").map(({ status }) => status);
    await expect.poll(ended, { timeout: 20_000 }).toEqual([499]);
    socket.destroy();
    await server.close();
  });

  it("says which port is taken", async () => {
    const server = await listenScripted({ drainSeconds: 0.2 });
    const port = Number(new URL(server.url).port);
    await expect(listenScripted({ port })).rejects.toThrowError(expect.objectContaining({ code: "IO_ERROR", message: expect.stringMatching(/expected 127\.0\.0\.1:\d+ to be free, got EADDRINUSE.*--port/) }));
    await server.close();
  });
});
