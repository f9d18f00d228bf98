/** Records of the engine's store: the frame, and the payloads of pages, resume points, exact states and sessions behind a right frame. */

import { createHash } from "node:crypto";
import { encodePageAtRest } from "@kvquant/cache";
import { importExactState } from "../../../packages/cpu/src/exact-state.js";
import { decodePages, decodePoint, encodePages, encodePoint } from "../../../packages/engine/src/cache-records.js";
import { createCheckedStore } from "../../../packages/engine/src/checked-store.js";
import { mapStore } from "../../../packages/engine/src/fixtures/map-store.js";
import { createPrefixChain } from "../../../packages/engine/src/prefix-chain.js";
import { frameRecord, unframeRecord } from "../../../packages/engine/src/record-frame.js";
import { createSessions } from "../../../packages/engine/src/sessions.js";
import { obey, obeyAsync } from "../law.js";

const shape = { layers: 2, queryHeads: 2, kvHeads: 1, headDim: 8 };
const chain = createPrefixChain("fuzz", 1);
const session = { id: "s", tokens: [1, 2, 3], created: "2020-01-01T00:00:00.000Z", bytes: 10, canonical: 3, salt: "x" };

export function seeds(): Uint8Array[] {
  const page = { tokens: 2, key: { tokens: 2, bytes: Uint8Array.of(1, 2), saturated: 0, clamped: 0 }, value: { tokens: 2, bytes: Uint8Array.of(3), saturated: 0, clamped: 0 } };
  encodePageAtRest(page);
  const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  const of = (kind: number, bytes: Uint8Array): Uint8Array => Uint8Array.of(kind, ...bytes);
  return [of(0, encodePages([page, page])), of(1, encodePoint({ tokens: 65, pages: 1, state: exactState() })), of(2, exactState()), of(3, text(session)), of(3, text({ ...session, scope: "session s" })), of(4, frameRecord("page/x", Uint8Array.of(1)))];
}

/** One sink and one token of each of two layers. */
function exactState(): Uint8Array {
  const bytes = new Uint8Array(64 + 24 + 2 * 64);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("KVQX"));
  [1, 2, 1, 8].forEach((value, index) => view.setUint32(4 + 4 * index, value, true));
  [1, 1, 64, 1, 1, 64].forEach((value, index) => view.setUint32(64 + 4 * index, value, true));
  return bytes;
}

/** The first byte says what the rest is. */
export async function fuzz(data: Uint8Array): Promise<void> {
  const payload = data.slice(1);
  switch ((data[0] ?? 0) % 5) {
    case 0:
      return obey(payload.length, () => void decodePages(payload, 2));
    case 1:
      return obey(payload.length, () => void decodePoint(payload));
    case 2:
      if (payload.length >= 64) payload.set(createHash("sha256").update(payload.subarray(0, 32)).update(payload.subarray(64)).digest(), 32);
      for (const part of ["sinks", "tail"] as const) obey(payload.length, () => importExactState({ importExact: () => undefined } as never, shape, { bytes: payload, part }));
      return;
    case 3:
      return obeyAsync(payload.length, () => useSession(payload));
    default:
      return obey(payload.length, () => void unframeRecord("page/x", payload));
  }
}

/** A session that another process left: found, listed and deleted. */
async function useSession(payload: Uint8Array): Promise<void> {
  const key = `session/${chain.root.slice(0, 32)}/${createHash("sha256").update("s").digest("hex").slice(0, 32)}`;
  const store = createCheckedStore(mapStore(new Map([[key, frameRecord(key, payload)]])), () => undefined);
  const spill = { write: () => Promise.resolve(true), remove: () => Promise.resolve() } as never;
  const sessions = createSessions(chain, { store, spill });
  await sessions.list();
  const found = await sessions.find("s");
  if (found !== undefined) sessions.prefix(found);
  await sessions.delete("s");
}
