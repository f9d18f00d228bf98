import { createHash } from "node:crypto";
import { expect, it } from "vitest";

import { createCheckedStore } from "./checked-store.js";
import { mapStore } from "./fixtures/map-store.js";
import { createPrefixChain } from "./prefix-chain.js";
import { frameRecord } from "./record-frame.js";
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
