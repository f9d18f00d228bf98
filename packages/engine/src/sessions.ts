/** Saved sessions: prefixes kept by name, pinned in memory or in the store. */

import { createHash, randomUUID } from "node:crypto";

import { KvquantError } from "@kvquant/spec";

import type { CheckedStore } from "./checked-store.js";
import type { PrefixChain } from "./prefix-chain.js";
import { checkRecord } from "./record-frame.js";
import type { ResumePoint } from "./resume-points.js";
import { sessionScope } from "./sequence.js";
import type { SessionInfo } from "./serving-engine.js";
import type { Spill, StoredPrefix } from "./spill.js";

/** Sessions that lie in the store and are remembered all the same; older ones are read from it. */
const MOST_REMEMBERED = 1024;

/** All that is known of a session. */
export interface Session {
  readonly id: string;
  readonly tokens: readonly number[];
  readonly created: string;
  readonly bytes: number;
  readonly canonical: number;
  readonly scope: string | undefined;
  readonly salt: string;
  /** Pinned while it is not in the store. */
  point: ResumePoint | undefined;
  stored: "memory" | "store";
}

/** The sessions of an engine. */
export interface Sessions {
  /** Those in memory, and the newest that this engine put into the store. */
  readonly count: number;
  /** Those that keep their points in memory. */
  readonly pinned: number;
  /** Keeps a point under an id; resolves once it is where it will stay. */
  keep(id: string, point: ResumePoint): Promise<Session>;
  /** From memory or the store. */
  find(id: string): Promise<Session | undefined>;
  list(): Promise<readonly SessionInfo[]>;
  delete(id: string): Promise<boolean>;
  /** Where its cache lies in the store. */
  prefix(session: Session): StoredPrefix;
}

/** `second`: where sessions survive a restart; undefined to pin them in memory. */
export function createSessions(chain: PrefixChain, second: { readonly store: CheckedStore; readonly spill: Spill } | undefined): Sessions {
  const known = new Map<string, Session>();
  const folder = `session/${chain.root.slice(0, 32)}/`;
  const keyOf = (id: string): string => folder + createHash("sha256").update(id).digest("hex").slice(0, 32);
  const unpin = (session: Session): void => {
    if (session.point !== undefined) session.point.pins--;
    session.point = undefined;
  };
  const prefix = (session: Session): StoredPrefix => ({ ...session, links: chain.extend([], session.tokens) });
  const forgetOldest = (): void => {
    for (const [id, { stored }] of known) {
      if (known.size <= MOST_REMEMBERED) return;
      if (stored === "store") known.delete(id);
    }
  };
  /** Writes a session; one that was deleted meanwhile leaves nothing behind. */
  const write = async (session: Session, point: ResumePoint, { store, spill }: NonNullable<typeof second>): Promise<void> => {
    const { id, salt, scope } = session;
    const written = (await spill.write(point, salt)) && known.get(id) === session && (await store.write(keyOf(id), encodeSession(session)));
    if (!known.has(id)) {
      await store.remove(keyOf(id));
      if (scope !== undefined) await spill.remove(prefix(session));
    } else if (written && known.get(id) === session) {
      session.stored = "store";
      unpin(session);
      forgetOldest();
    }
  };
  const find = async (id: string): Promise<Session | undefined> => known.get(id) ?? second?.store.read(keyOf(id), (payload) => decodeSession(payload, id));

  return {
    get count() {
      return known.size;
    },
    get pinned() {
      return [...known.values()].filter(({ point }) => point !== undefined).length;
    },
    async keep(id, point) {
      const before = known.get(id);
      // Pages with generated tokens that the session had before are in this one too, bit for bit.
      const salt = before?.scope === sessionScope(id) && point.scope === before.scope ? before.salt : randomUUID();
      const session: Session = { id, tokens: point.tokens, created: new Date().toISOString(), bytes: point.cache.bytes().total, canonical: point.canonical, scope: point.scope, salt, point, stored: "memory" };
      point.pins++;
      known.delete(id); // the newest goes to the end
      known.set(id, session);
      if (before !== undefined) unpin(before);
      if (second !== undefined) await write(session, point, second);
      return session;
    },
    find,
    async list() {
      const all = new Map([...known].map(([id, session]) => [id, toInfo(session)]));
      for await (const key of second?.store.keys(folder) ?? []) {
        const session = await second!.store.read(key, (payload) => decodeSession(payload));
        if (session !== undefined && !all.has(session.id)) all.set(session.id, toInfo(session));
      }
      return [...all.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    },
    async delete(id) {
      const session = await find(id);
      if (session === undefined) return false;
      known.delete(id);
      unpin(session);
      await second?.store.remove(keyOf(id));
      if (session.scope !== undefined) await second?.spill.remove(prefix(session));
      return true;
    },
    prefix,
  };
}

/** What listings show. */
export function toInfo({ id, tokens, bytes, created, stored }: Session): SessionInfo {
  return { id, tokens: tokens.length, bytes, created, stored };
}

/** JSON of the session without its point. */
function encodeSession({ id, tokens, created, bytes, canonical, scope, salt }: Session): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ id, tokens, created, bytes, canonical, scope, salt }));
}

/** @throws CORRUPT_DATA, also for a whole record that this did not write: another process may write to the store too */
function decodeSession(payload: Uint8Array, id?: string): Session {
  const { id: own, tokens, created, bytes, canonical, scope, salt } = parseFields(payload);
  checkRecord(typeof own === "string" && (id === undefined || own === id), `session ${id ?? "of any id"}`, String(own));
  checkRecord(Array.isArray(tokens) && tokens.every((token) => isCount(token) && token < 2 ** 31), "a session's tokens", typeof tokens);
  checkRecord(isCount(bytes) && isCount(canonical) && typeof created === "string" && typeof salt === "string", "a session's fields", "others");
  checkRecord(scope === undefined || typeof scope === "string", "a session's scope", typeof scope);
  return { id: own, tokens: tokens as number[], created, bytes, canonical, scope, salt, point: undefined, stored: "store" };
}

function parseFields(payload: Uint8Array): { readonly [Name in keyof Session]?: unknown } {
  try {
    return (JSON.parse(new TextDecoder().decode(payload)) ?? {}) as { readonly [Name in keyof Session]?: unknown };
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `record: expected a session as JSON, got ${(cause as Error).message}`, { cause });
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
