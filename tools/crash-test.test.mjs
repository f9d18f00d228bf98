import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCrashTest } from "./crash-test.mjs";
import { hasAddon, root } from "./setup.mjs";

/** The processes run built files, and only the native engine's caches are written to a store. */
const built = ["engine/dist/lmdb.js", "eval/dist/index.js", "model/dist/index.js"].every((file) => existsSync(join(root, "packages", file)));

it.skipIf(!built || !hasAddon())("an engine that is killed under load comes back with the right texts, no damaged page and its prefixes", async () => {
  const counts = await runCrashTest({ rounds: 3 });
  expect(counts).toMatchObject({ wrong: 0, failures: [] });
  expect(counts.answers).toBeGreaterThan(40);
  expect(counts.hits).toBeGreaterThan(0);
  expect(counts.damagedByTest).toBeGreaterThan(0);
});
