/** A page store in a Valkey or Redis server, shared by several servers: what one computes, the others need not. */

import { KvquantError, check, checkInteger } from "@kvquant/spec";
import { Redis } from "iovalkey";
import { checkFits, checkKey, checkValue, closedError } from "./check-record.js";
import type { PageStore } from "../page-store.js";

export interface ValkeyStoreOptions {
  /** `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS; `valkey://` and `valkeys://` mean the same. */
  readonly url: string;
  /** Put before every key, so that several deployments can share a server. Default: `kvquant:`. */
  readonly prefix?: string;
  /** A record that was neither written nor read for so long is dropped by the server. Default: a day. */
  readonly ttlSeconds?: number;
  /** How long the first connection, and each later one, may take. Default: 2,000. */
  readonly connectMilliseconds?: number;
  /** How long an answer may take before the connection is given up. Default: 1,000. */
  readonly commandMilliseconds?: number;
  /** Most bytes of values under way to the server; `put` fails at once beyond it. Default: 256 MiB. */
  readonly maxPendingBytes?: number;
  /** Whether a server that cannot be reached now is an error now; otherwise only operations fail, until it is there. Default: true. */
  readonly requireConnection?: boolean;
}

const id = "valkey";
/** Largest bulk string of the server as shipped (`proto-max-bulk-len`). */
const MAX_VALUE_BYTES = 512 * 2 ** 20;
const SCAN_COUNT = 512;

/**
 * Connects. Nothing is queued while the server is away: operations fail at once with UNAVAILABLE, and the connection is tried again every 50 ms to 2 s.
 * An answer that does not come in time ends the connection, so that a server that hangs costs one time-out and not one for each record.
 * @throws INVALID_ARGUMENT; UNAVAILABLE when there is no server that takes us (unless `requireConnection` is false)
 */
export async function connectValkeyStore(options: ValkeyStoreOptions): Promise<PageStore> {
  const url = parseUrl(options.url);
  const prefix = options.prefix ?? "kvquant:";
  const ttlSeconds = options.ttlSeconds ?? 86_400;
  const connectTimeout = options.connectMilliseconds ?? 2_000;
  const commandTimeout = options.commandMilliseconds ?? 1_000;
  const maxPendingBytes = options.maxPendingBytes ?? 256 * 2 ** 20;
  check(typeof prefix === "string" && Buffer.byteLength(prefix) <= 256, "connectValkeyStore: prefix", "a string of at most 256 bytes", prefix);
  checkInteger("connectValkeyStore: ttlSeconds", ttlSeconds, { minimum: 1, maximum: 2 ** 31 - 1 });
  for (const [name, value] of Object.entries({ connectMilliseconds: connectTimeout, commandMilliseconds: commandTimeout })) checkInteger(`connectValkeyStore: ${name}`, value, { minimum: 1, maximum: 2 ** 31 - 1 });
  checkInteger("connectValkeyStore: maxPendingBytes", maxPendingBytes, { minimum: 1 });

  const client = new Redis(url.href, {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout,
    commandTimeout,
    keepAlive: 30_000,
    retryStrategy: (attempt) => Math.min(2_000, 50 * 2 ** Math.min(attempt, 6)),
  });
  /** Why there is no connection, for the messages of operations that need one. */
  let trouble = "not connected yet";
  client.on("error", (error: Error) => void (trouble = error.message || String((error as NodeJS.ErrnoException).code)));
  const where = url.host; // never the password
  const pending = new Set<Promise<unknown>>();
  let pendingBytes = 0;
  let closed = false;

  if (options.requireConnection ?? true) {
    try {
      await firstConnection(client, connectTimeout);
    } catch (error) {
      client.disconnect();
      throw unavailable("connect", trouble === "not connected yet" ? messageOf(error) : trouble, error);
    }
  } else {
    client.connect().catch(() => undefined); // the error event told, and the next attempt is planned
  }

  function unavailable(what: string, why: string, cause?: unknown): KvquantError {
    return new KvquantError("UNAVAILABLE", `${id} ${what}: the server at ${where} cannot be used: ${why}`, cause === undefined ? undefined : { cause });
  }

  /** Runs one command within its time. */
  async function send<Result>(what: string, command: () => Promise<Result>): Promise<Result> {
    if (closed) throw closedError(id);
    if (client.status !== "ready") throw unavailable(what, `no connection (${trouble})`);
    const answer = command();
    pending.add(answer);
    try {
      return await answer;
    } catch (error) {
      throw translate(what, error);
    } finally {
      pending.delete(answer);
    }
  }

  function translate(what: string, error: unknown): KvquantError {
    const message = messageOf(error);
    if (message === "Command timed out") {
      trouble = `no answer within ${commandTimeout} ms`;
      if (client.status === "ready") client.disconnect(true);
      return unavailable(what, trouble, error);
    }
    // Answers of the server are ReplyErrors and begin with a code in capitals; all else is the connection.
    if ((error as Error).name !== "ReplyError") return unavailable(what, message, error);
    if (message.startsWith("OOM")) return new KvquantError("OUT_OF_CAPACITY", `${id} ${what}: the server at ${where} is full: ${message}; set its maxmemory-policy to allkeys-lru`, { cause: error });
    if (/^(LOADING|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN|NOAUTH|NOPERM|WRONGPASS)/.test(message)) return unavailable(what, message, error);
    return new KvquantError("IO_ERROR", `${id} ${what}: the server at ${where} answered: ${message}`, { cause: error });
  }

  return {
    id,
    async get(key) {
      checkKey(id, key);
      // Reading renews the time to live: what is in use stays.
      const value = await send("get", () => client.getexBuffer(prefix + key, "EX", ttlSeconds));
      return value === null ? undefined : new Uint8Array(value.buffer, value.byteOffset, value.length);
    },
    async put(key, value) {
      checkKey(id, key);
      checkValue(id, value);
      checkFits(id, value, Math.min(MAX_VALUE_BYTES, maxPendingBytes));
      if (pendingBytes + value.length > maxPendingBytes) throw unavailable("put", `${pendingBytes} bytes are under way to it already, at most ${maxPendingBytes} may be`);
      pendingBytes += value.length;
      try {
        await send("put", () => client.set(prefix + key, Buffer.from(value), "EX", ttlSeconds));
      } finally {
        pendingBytes -= value.length;
      }
    },
    async delete(key) {
      checkKey(id, key);
      await send("delete", () => client.unlink(prefix + key));
    },
    async *keys(start) {
      const pattern = `${(prefix + start).replace(/[\\*?[\]]/g, "\\$&")}*`;
      const seen = new Set<string>(); // SCAN may name a key more than once
      let cursor = "0";
      do {
        const [next, found] = await send("keys", () => client.scan(cursor, "MATCH", pattern, "COUNT", SCAN_COUNT));
        cursor = next;
        for (const key of found) {
          if (seen.has(key)) continue;
          seen.add(key);
          yield key.slice(prefix.length);
        }
      } while (cursor !== "0");
    },
    /** Unknown: the server counts its memory as a whole, and others use it too. */
    async bytes() {
      if (closed) throw closedError(id);
      return undefined;
    },
    async close() {
      if (closed) return;
      closed = true;
      await Promise.allSettled(pending);
      client.disconnect();
    },
  };
}

/** Waits for the first connection to be ready for commands, with one limit for the whole of it (address, connection, greeting). */
async function firstConnection(client: Redis, limitMilliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no connection within ${limitMilliseconds} ms`)), limitMilliseconds);
  });
  try {
    await Promise.race([client.connect(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws INVALID_ARGUMENT, without repeating the URL: it may hold a password */
function parseUrl(text: string): URL {
  const schemes: Readonly<Record<string, string>> = { "redis:": "redis:", "rediss:": "rediss:", "valkey:": "redis:", "valkeys:": "rediss:" };
  const match = /^([a-z]+:)\/\//.exec(String(text));
  const scheme = schemes[match?.[1] ?? ""];
  const usable = scheme !== undefined && URL.canParse(text.replace(/^[a-z]+:/, "http:"));
  check(usable, "connectValkeyStore: url", "redis://host:port, rediss://, valkey:// or valkeys://", match?.[1] ?? "something else");
  return new URL(text.replace(/^[a-z]+:/, scheme));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
