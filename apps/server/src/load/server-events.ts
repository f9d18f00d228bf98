/** Reads a stream of server-sent events. */

/** JSON values of `data:` lines as they come; `[DONE]` ends them. */
export async function* readServerEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder();
  let held = "";
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    held += decoder.decode(chunk, { stream: true });
    const lines = held.split(/\r?\n/);
    held = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      yield JSON.parse(data) as unknown;
    }
  }
}
