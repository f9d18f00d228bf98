/** What a page store must do, as checks that any test runner can run: the built-in stores pass them, and so should yours. */

import { KvquantError } from "@kvquant/spec";
import type { PageStore } from "../page-store.js";

/** One law. `check` gets an empty store, may leave records in it, and throws when the law is broken. */
export interface PageStoreLaw {
  readonly title: string;
  check(store: PageStore): Promise<void>;
}

/** Runs every law on a store of its own. @throws CORRUPT_DATA naming the first law that is broken */
export async function assertPageStoreLaws(open: () => Promise<PageStore>): Promise<void> {
  for (const law of pageStoreLaws) {
    const store = await open();
    try {
      await law.check(store);
    } catch (error) {
      throw new KvquantError("CORRUPT_DATA", `page store "${store.id}" breaks the law "${law.title}": ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    } finally {
      await store.close();
    }
  }
}

export const pageStoreLaws: readonly PageStoreLaw[] = [
  {
    title: "a record comes back byte for byte, whatever its length",
    async check(store) {
      for (const length of [0, 1, 15, 4_095, 4_096, 65_503, 65_504, 65_505, 65_536, 300_007, 3_000_000]) {
        const value = makeBytes(length, length);
        await store.put(`page/${length}`, value);
        expectBytes(await store.get(`page/${length}`), value, `length ${length}`);
      }
    },
  },
  {
    title: "a record that was never written is undefined, and deleting it does nothing",
    async check(store) {
      expect((await store.get("page/none")) === undefined, "undefined for a key that was never written");
      await store.delete("page/none");
      expect((await store.get("page/none")) === undefined, "undefined after deleting it");
    },
  },
  {
    title: "a later value replaces an earlier one, shorter or longer",
    async check(store) {
      for (const length of [200_000, 10, 70_000, 0, 140_000]) {
        const value = makeBytes(length, length + 1);
        await store.put("page/same", value);
        expectBytes(await store.get("page/same"), value, `length ${length}`);
      }
      expect((await listKeys(store, "")).join() === "page/same", "one key after five writes of it");
    },
  },
  {
    title: "a deleted record is gone, and others stay",
    async check(store) {
      await Promise.all([store.put("page/a", makeBytes(100_000, 1)), store.put("page/ab", makeBytes(5, 2))]);
      await store.delete("page/a");
      expect((await store.get("page/a")) === undefined, "undefined for a deleted key");
      expectBytes(await store.get("page/ab"), makeBytes(5, 2), "the other record");
      expect((await listKeys(store, "page/")).join() === "page/ab", "only the other key");
    },
  },
  {
    title: "values are copied in and out",
    async check(store) {
      const value = makeBytes(70_000, 3);
      const written = store.put("page/copy", value);
      value.fill(0);
      await written;
      const read = await store.get("page/copy");
      expectBytes(read, makeBytes(70_000, 3), "after the writer changed its array");
      read?.fill(1);
      expectBytes(await store.get("page/copy"), makeBytes(70_000, 3), "after a reader changed its array");
    },
  },
  {
    title: "keys are listed by prefix, each once",
    async check(store) {
      const pages = Array.from({ length: 300 }, (_, index) => `page/${index}`);
      await Promise.all([...pages, "point/1", "page*/[x]?", "pag"].map((key) => store.put(key, makeBytes(3, 1))));
      expect(same(await listKeys(store, "page/"), pages), "the 300 pages, and no other");
      expect(same(await listKeys(store, "page*/[x]?"), ["page*/[x]?"]), "signs of a pattern taken literally");
      expect((await listKeys(store, "")).length === 303, "all keys for the empty prefix");
      expect((await listKeys(store, "nothing")).length === 0, "none for a prefix that no key has");
    },
  },
  {
    title: "operations of the same moment see each other in order",
    async check(store) {
      const [, first, , second, , third] = await Promise.all([
        store.put("page/now", makeBytes(9, 1)),
        store.get("page/now"),
        store.put("page/now", makeBytes(9, 2)),
        store.get("page/now"),
        store.delete("page/now"),
        store.get("page/now"),
      ]);
      expectBytes(first, makeBytes(9, 1), "the first value");
      expectBytes(second, makeBytes(9, 2), "the second value");
      expect(third === undefined, "undefined after the delete");
      expect((await store.get("page/now")) === undefined, "undefined in the end");
    },
  },
  {
    title: "a hundred writers and readers at once lose nothing",
    async check(store) {
      const one = async (index: number) => {
        const key = `page/${index % 25}`;
        for (let round = 0; round < 4; round++) {
          await store.put(key, makeBytes(20_000, index % 25));
          expectBytes(await store.get(key), makeBytes(20_000, index % 25), key);
        }
      };
      await Promise.all(Array.from({ length: 100 }, (_, index) => one(index)));
      expect((await listKeys(store, "page/")).length === 25, "25 keys");
    },
  },
  {
    title: "the bytes are the sum of the values, for each copy the store holds, where it can tell",
    async check(store) {
      await Promise.all([store.put("page/1", makeBytes(100_000, 1)), store.put("page/2", makeBytes(1_000, 2)), store.put("page/3", makeBytes(10, 3))]);
      await store.put("page/1", makeBytes(500, 4));
      await store.delete("page/3");
      const bytes = await store.bytes();
      expect(bytes === undefined || (bytes >= 1_500 && bytes % 1_500 === 0), "1,500 bytes for each copy, or undefined", bytes);
    },
  },
  {
    title: "keys that are not strings of 1 to 512 bytes, and values that are not bytes, are refused",
    async check(store) {
      const wrong = [() => store.get(""), () => store.put("x".repeat(513), makeBytes(1, 1)), () => store.delete("a\0b"), () => store.put("page/x", "text" as unknown as Uint8Array)];
      for (const action of wrong) await expectError(action, "INVALID_ARGUMENT");
      await store.put("x".repeat(512), makeBytes(1, 1));
      expectBytes(await store.get("x".repeat(512)), makeBytes(1, 1), "the longest key");
    },
  },
  {
    title: "a closed store says so, and can be closed twice",
    async check(store) {
      await store.put("page/1", makeBytes(10, 1));
      await store.close();
      await store.close();
      const closed = [() => store.get("page/1"), () => store.put("page/1", makeBytes(1, 1)), () => store.delete("page/1"), () => store.bytes(), () => listKeys(store, "")];
      for (const action of closed) await expectError(action, "DISPOSED");
    },
  },
];

function expect(condition: boolean, expected: string, got?: unknown): asserts condition {
  if (!condition) throw new Error(`expected ${expected}${got === undefined ? "" : `, got ${String(got)}`}`);
}

function expectBytes(got: Uint8Array | undefined, wanted: Uint8Array, what: string): void {
  expect(got !== undefined, `a record: ${what}`);
  expect(got.length === wanted.length && Buffer.compare(got, wanted) === 0, `${wanted.length} bytes as written: ${what}`, `${got.length} bytes`);
}

async function expectError(action: () => Promise<unknown>, code: string): Promise<void> {
  const error = await action().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(KvquantError.isInstance(error) && error.code === code, `a KvquantError with code ${code}`, error ?? "no error");
}

async function listKeys(store: PageStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.keys(prefix)) keys.push(key);
  return keys;
}

function same(one: readonly string[], other: readonly string[]): boolean {
  return [...one].sort().join("\n") === [...other].sort().join("\n");
}

/** Bytes that depend on seed and position, so that parts in a wrong place show. */
function makeBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}
