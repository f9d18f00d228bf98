// The server's routes: JSON, and streams of events.

const place = "kvquant.key";

export function readKey() {
  return sessionStorage.getItem(place) ?? "";
}

export function storeKey(key) {
  sessionStorage.setItem(place, key);
}

/** An error that the server answered; `status` is undefined when there was no answer. */
class ServerError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function createApi({ key, onUnauthorized }) {
  const headers = (more = {}) => (key() === "" ? more : { ...more, authorization: `Bearer ${key()}` });

  async function toError(response) {
    const text = await response.text();
    let message = `the server answered ${response.status}`;
    let code;
    try {
      const { error } = JSON.parse(text);
      message = error?.message ?? message;
      code = error?.code;
    } catch {
      if (text !== "") message += `: ${text.slice(0, 200)}`; // not this server's words: a gateway's, perhaps
    }
    if (response.status === 401) onUnauthorized();
    return new ServerError(message, response.status, code);
  }

  return {
    async get(path, { acceptStatus = [] } = {}) {
      const response = await fetch(path, { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(10_000) });
      if (!response.ok && !acceptStatus.includes(response.status)) throw await toError(response);
      return response.json();
    },
    /** Deletes; what is not there any more is fine. Also while the page is being left. */
    async remove(path) {
      const response = await fetch(path, { method: "DELETE", headers: headers(), keepalive: true });
      if (!response.ok && response.status !== 404) throw await toError(response);
    },
    /** Yields the events of a stream. An error among them is thrown. */
    async *stream(path, body, signal) {
      const response = await fetch(path, { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body), signal });
      if (!response.ok) throw await toError(response);
      let rest = "";
      let done = false;
      for await (const text of readText(response.body)) {
        const events = (rest + text).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.replace(/^data: ?/, "");
          if (data === "[DONE]") done = true;
          else if (data !== "") {
            const value = JSON.parse(data);
            if (value.error !== undefined) throw new ServerError(value.error.message, 500, value.error.code);
            yield value;
          }
        }
      }
      if (!done) throw new ServerError("the stream ended before the answer did");
    },
  };
}

/** Not every browser can iterate over a stream. */
async function* readText(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => undefined); // the request was aborted: nothing is left to cancel
  }
}
