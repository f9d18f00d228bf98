import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openReferenceStore } from "./reference-store.js";

it.each(["null", "7", "[]", "{", ""])("a description that is %j is damage, and said to be", async (text) => {
  const folder = await mkdtemp(join(tmpdir(), "kvquant-reference-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const notices: string[] = [];
  const store = openReferenceStore(folder, (notice) => notices.push(notice));
  const key = { fingerprint: "f", engine: "e", window: Int32Array.of(1, 2), width: 2 };
  await store.write(key, { hidden: Float32Array.of(1, 2, 3, 4), seconds: 1 });
  expect(await store.read(key)).toEqual({ hidden: Float32Array.of(1, 2, 3, 4), seconds: 1 });
  const description = (await readdir(folder)).find((name) => name.endsWith(".json"))!;
  await writeFile(join(folder, description), text);
  expect(await store.read(key)).toBeUndefined();
  expect(notices).toEqual([expect.stringMatching(/damaged; computing them again/)]);
});
