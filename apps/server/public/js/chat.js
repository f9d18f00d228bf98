// The conversation: what was said, the answer as it comes, and a way to stop it.
import { byId, make } from "./dom.js";
import { bytes, count, rate, seconds } from "./format.js";

export function createChat({ api, live, model, isReady, onBusy }) {
  const list = byId("messages");
  const form = byId("chat-form");
  const prompt = byId("prompt");
  const empty = list.firstElementChild;
  /** What the model is sent: system, user and assistant messages. */
  let conversation = [];
  let running;
  /** Under this name the server keeps the cache of the conversation, answers included, so that the next turn goes on from it. */
  let session = sessionName();
  let isKept = false;

  addEventListener("pagehide", forget);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
  byId("stop").addEventListener("click", stop);
  byId("clear").addEventListener("click", () => {
    clear();
    prompt.focus();
  });

  function stop() {
    running?.abort();
  }

  /** Lets the server free what it keeps for this conversation. */
  function forget() {
    if (isKept) api.remove(`/v1/sessions/${session}`).catch((error) => console.warn(`the session ${session} stays on the server: ${error.message}`));
    isKept = false;
    session = sessionName();
  }

  function clear() {
    stop();
    forget();
    conversation = [];
    list.replaceChildren(empty);
    live.reset();
  }

  async function send() {
    const text = prompt.value;
    if (text.trim() === "" || running !== undefined || !isReady()) return;
    prompt.value = "";
    empty.remove();
    const asked = [...conversation, { role: "user", content: text }];
    conversation = asked;
    addMessage("user", "You", text);
    const answer = addMessage("assistant", model(), "");
    const mine = new AbortController();
    running = mine;
    setBusy(true);
    answer.element.classList.add("running");
    let content = "";
    try {
      live.start();
      for await (const chunk of api.stream("/v1/chat/completions", requestBody(asked), mine.signal)) {
        const piece = chunk.choices[0]?.delta?.content ?? "";
        if (piece !== "") {
          content += piece;
          answer.append(piece);
          live.token();
        }
        if (chunk.choices[0]?.finish_reason === "length") answer.note("Stopped at the limit of tokens.");
        if (chunk.usage) {
          live.finish(chunk.usage);
          answer.note(describeUsage(chunk.usage));
        }
      }
      isKept ||= byId("keep").checked;
      byId("announce").textContent = "The answer is complete.";
    } catch (error) {
      if (mine.signal.aborted) {
        answer.note("Stopped.");
        byId("announce").textContent = "Stopped.";
      } else {
        const remedy = error.code === "cache_capacity_exceeded" && byId("keep").checked ? " Without “Keep the cache between turns”, in the settings, it may fit." : "";
        answer.fail(error.status === undefined ? `No answer: ${error.message}` : error.message + remedy);
      }
      live.end();
    } finally {
      answer.element.classList.remove("running");
      // Kept with what came of the answer; an empty one, and its question, would only confuse the model.
      if (conversation === asked) conversation = content === "" ? asked.slice(0, -1) : [...asked, { role: "assistant", content }];
      running = undefined;
      setBusy(false);
    }
  }

  function requestBody(messages) {
    const system = byId("system").value.trim();
    const seed = byId("seed").value;
    return {
      model: model(),
      messages: system === "" ? messages : [{ role: "system", content: system }, ...messages],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: byId("max-tokens").valueAsNumber || 256,
      temperature: Number(byId("temperature").value),
      ...(seed === "" ? {} : { seed: Number(seed) }),
      ...(byId("keep").checked ? { session } : {}),
    };
  }

  function setBusy(busy) {
    const hadFocus = document.activeElement === byId("stop") || document.activeElement === byId("send");
    byId("stop").hidden = !busy;
    byId("send").hidden = busy;
    if (hadFocus) byId(busy ? "stop" : "send").focus();
    onBusy();
  }

  function addMessage(kind, who, text) {
    const body = make("div", { className: "text" }, text);
    const element = make("article", { className: `message ${kind}`, "aria-label": who }, make("p", { className: "who" }, who), body);
    list.append(element);
    list.scrollTop = list.scrollHeight;
    return {
      element,
      append(piece) {
        const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
        body.append(piece); // a string: text, whatever it looks like
        if (atEnd) list.scrollTop = list.scrollHeight;
      },
      note(note) {
        element.append(make("p", { className: "after" }, note));
        list.scrollTop = list.scrollHeight;
      },
      fail(message) {
        element.append(make("p", { className: "failure", role: "alert" }, message));
        list.scrollTop = list.scrollHeight;
      },
    };
  }

  return { clear, isBusy: () => running !== undefined };
}

/** `crypto.randomUUID` is for https and localhost alone; this is for every address. */
function sessionName() {
  return `dashboard-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function describeUsage({ prompt_tokens, completion_tokens, prompt_tokens_details, kvquant }) {
  const writing = kvquant.seconds - kvquant.first_token_seconds;
  const speed = completion_tokens > 1 && writing > 0 ? `${rate((completion_tokens - 1) / writing)} tokens/s · ` : "";
  return `${speed}first token ${seconds(kvquant.first_token_seconds)} · ${count(prompt_tokens_details.cached_tokens)} of ${count(prompt_tokens)} prompt tokens from cache · cache ${bytes(kvquant.cache_bytes)}, fp16 ${bytes(kvquant.fp16_bytes)}`;
}
