import { createHash } from "node:crypto";
import { expect, it, vi } from "vitest";

import { createCheckedStore } from "./checked-store.js";
import { mapStore } from "./fixtures/map-store.js";
import { createPrefixChain } from "./prefix-chain.js";
import { frameRecord } from "./record-frame.js";
import type { ResumePoint } from "./resume-points.js";
import type { Spill } from "./spill.js";
import { createSessions } from "./sessions.js";
import type { Sessions } from "./sessions.js";

const chain = createPrefixChain("test", 1);
const key = `session/${chain.root.slice(0, 32)}/${createHash("sha256").update("s").digest("hex").slice(0, 32)}`;
const whole = { id: "s", tokens: [1, 2, 3], created: "2020-01-01T00:00:00.000Z", bytes: 10, canonical: 3, salt: "x" };

/** Sessions over a store with one record, whole in itself, whatever it says. */
function open(payload: string): { sessions: Sessions; damaged: () => number } {
  const store = createCheckedStore(mapStore(new Map([[key, frameRecord(key, new TextEncoder().encode(payload))]])), () => undefined);
  return { sessions: createSessions(chain, { store, spill: undefined as never }), damaged: () => store.counts.damaged };
}

it("a session that another process left is found and listed", async () => {
  const { sessions, damaged } = open(JSON.stringify(whole));
  expect(await sessions.find("s")).toMatchObject({ id: "s", tokens: [1, 2, 3], stored: "store", scope: undefined });
  expect(await sessions.list()).toMatchObject([{ id: "s", tokens: 3 }]);
  expect(damaged()).toBe(0);
});

it.each(["{", "null", "7", "[]", JSON.stringify({ ...whole, id: "other" }), JSON.stringify({ ...whole, tokens: [2 ** 32] }), JSON.stringify({ ...whole, tokens: [0.5] }), JSON.stringify({ ...whole, tokens: "abc" }), JSON.stringify({ ...whole, bytes: -1 }), JSON.stringify({ ...whole, scope: 5 }), JSON.stringify({ ...whole, salt: undefined })])(
  "a record under the right checksum that is no session is dropped, and nothing throws: %s",
  async (payload) => {
    const { sessions, damaged } = open(payload);
    expect(await sessions.find("s")).toBeUndefined();
    expect(await sessions.list()).toEqual([]);
    expect(damaged()).toBe(1);
  },
);

/** A point with generated tokens, as a session leaves it. */
function makePoint(): ResumePoint {
  const cache = { bytes: () => ({ total: 10 }) } as never;
  return { key: "k", tokens: [1, 2, 3], canonical: 2, scope: "session s", links: [], cache, parent: undefined, bytes: 0, children: new Set(), pins: 0, lastUsed: 0 };
}

it("a session that is deleted while it is being written is in no store afterwards", async () => {
  for (const moment of ["pages", "record"] as const) {
    const pages = mapStore();
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const put = pages.put.bind(pages);
    const slow = { ...pages, put: async (at: string, value: Uint8Array) => (moment === "record" ? await gate : undefined, put(at, value)) };
    const remove = vi.fn(() => Promise.resolve());
    const spill = { write: async () => (moment === "pages" ? await gate : undefined, true), remove } as unknown as Spill;
    const sessions = createSessions(chain, { store: createCheckedStore(slow, () => undefined), spill });
    const point = makePoint();
    const kept = sessions.keep("s", point);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await sessions.delete("s")).toBe(true);
    remove.mockClear();
    open();
    await kept;
    expect([...pages.records.keys()]).toEqual([]);
    expect(remove).toHaveBeenCalledOnce(); // its pages, which only it can use
    expect(await sessions.find("s")).toBeUndefined();
    expect(point.pins).toBe(0);
  }
});

it("sessions in the store are remembered up to a bound, and found beyond it", async () => {
  const spill = { write: () => Promise.resolve(true), remove: () => Promise.resolve() } as unknown as Spill;
  const sessions = createSessions(chain, { store: createCheckedStore(mapStore(), () => undefined), spill });
  for (let index = 0; index < 1100; index++) await sessions.keep(`s${index}`, makePoint());
  expect(sessions.count).toBe(1024);
  expect(await sessions.find("s0")).toMatchObject({ id: "s0", stored: "store" });
  expect(await sessions.list()).toHaveLength(1100);
  expect(await sessions.delete("s0")).toBe(true);
  expect(await sessions.find("s0")).toBeUndefined();
});
