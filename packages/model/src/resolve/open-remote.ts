/** One HTTP request for the rest of a file, through redirects, with what the hub says about it. */

import { KvquantError } from "@kvquant/spec";
import { hubToken } from "./hub-token.js";
import { unavailable } from "./failures.js";

/** An answer; leaving the block closes the connection. */
export interface RemoteFile extends AsyncDisposable {
  /** Byte the body starts at: what was asked for, or 0 when the server sends the whole; "complete" when there is nothing left. */
  readonly start: number | "complete";
  /** Size of the whole file. */
  readonly size: number | undefined;
  /** From x-linked-etag. */
  readonly sha256: string | undefined;
  /** From the etag of small files. */
  readonly gitBlob: string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

const LONGEST_CHAIN = 8;
const STALL_MILLISECONDS = 30_000;

/**
 * Requests `url` from byte `from` on. Redirects are followed by hand, since the hub tells size and hash only on the first answer and its token is for it alone.
 * @throws UNAVAILABLE for refusals, and errors of `fetch` for broken connections
 */
export async function openRemote(url: string, from: number, signal: AbortSignal | undefined): Promise<RemoteFile> {
  const stop = new AbortController();
  const cancel = (): void => stop.abort(signal?.reason);
  signal?.addEventListener("abort", cancel, { once: true });
  if (signal?.aborted) cancel();
  let timer = setTimeout(() => stop.abort(new Error("no answer for 30 s")), STALL_MILLISECONDS);
  const touch = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Error("no byte for 30 s")), STALL_MILLISECONDS);
  };
  const dispose = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
    stop.abort();
  };
  try {
    const told: Told = { size: undefined, sha256: undefined, gitBlob: undefined };
    const response = await follow(url, { from, signal: stop.signal, told });
    touch();
    return { ...answer(response, { url, from, told }), body: chunksOf(response, touch), [Symbol.asyncDispose]: async () => dispose() };
  } catch (error) {
    dispose();
    throw error;
  }
}

interface Told {
  size: number | undefined;
  sha256: string | undefined;
  gitBlob: string | undefined;
}

async function follow(url: string, request: { from: number; signal: AbortSignal; told: Told }): Promise<Response> {
  const origin = new URL(url).origin;
  let at = url;
  for (let hop = 0; hop < LONGEST_CHAIN; hop++) {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "kvquant" };
    if (request.from > 0) headers["range"] = `bytes=${request.from}-`;
    const token = new URL(at).origin === origin ? hubToken() : undefined;
    if (token) headers["authorization"] = `Bearer ${token}`;
    const response = await fetch(at, { headers, redirect: "manual", signal: request.signal });
    listen(response, request.told);
    if (response.status < 300 || response.status >= 400) return response;
    const next = response.headers.get("location");
    await response.body?.cancel();
    if (!next) throw unavailable(at, `the server answered ${response.status} without an address`, "try again later");
    at = new URL(next, at).href;
    if (!/^https?:/.test(at)) throw unavailable(url, `it redirects to ${at}`, "only http and https are followed");
  }
  throw unavailable(url, `more than ${LONGEST_CHAIN} redirects`, "try again later");
}

function listen(response: Response, told: Told): void {
  const linkedSize = Number(response.headers.get("x-linked-size") ?? Number.NaN);
  if (Number.isSafeInteger(linkedSize)) told.size ??= linkedSize;
  const linked = unquote(response.headers.get("x-linked-etag"));
  if (linked && /^[0-9a-f]{64}$/.test(linked)) told.sha256 ??= linked;
  const etag = unquote(response.headers.get("etag"));
  if (etag && /^[0-9a-f]{40}$/.test(etag)) told.gitBlob ??= etag;
}

function unquote(etag: string | null): string | undefined {
  return etag?.replace(/^W\//, "").replace(/^"|"$/g, "").toLowerCase();
}

function answer(response: Response, request: { url: string; from: number; told: Told }): Pick<RemoteFile, "start" | "size" | "sha256" | "gitBlob"> {
  const { told, from, url } = request;
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (response.status === 206) {
    if (range?.[1] === undefined || Number(range[1]) !== from) throw new KvquantError("CORRUPT_DATA", `${url}: expected bytes from ${from} on, got ${response.headers.get("content-range")}; the server's answer makes no sense`);
    return { start: from, ...told, size: told.size ?? Number(range[2]) };
  }
  if (response.status === 416 && from > 0) return { start: "complete", ...told, size: told.size ?? (range ? Number(range[2]) : undefined) };
  if (response.status === 200) {
    const length = response.headers.get("content-length");
    const encoded = response.headers.get("content-encoding") ?? "identity";
    return { start: 0, ...told, size: told.size ?? (length !== null && encoded === "identity" ? Number(length) : undefined) };
  }
  throw refusal(response.status, url);
}

/** What a status means for someone who wants a model. Server errors are worth another attempt, so they are plain errors. */
export function refusal(status: number, url: string): Error {
  if (status === 401 || status === 403) return unavailable(url, `the server answered ${status}`, "the model does not exist or needs permission: ask for access on its page and set HF_TOKEN");
  if (status === 404) return unavailable(url, "the server answered 404 (not there)", "check the name");
  if (status >= 500 || status === 429) return new Error(`the server answered ${status}`);
  return unavailable(url, `the server answered ${status}`, "check the address in HF_ENDPOINT");
}

async function* chunksOf(response: Response, touch: () => void): AsyncGenerator<Uint8Array> {
  if (!response.body) return;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    touch();
    yield chunk;
  }
}
