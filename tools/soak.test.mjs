import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hasAddon, root } from "./setup.mjs";
import { runSoak } from "./soak.mjs";

/** The server runs from built files. */
const built = existsSync(join(root, "apps/cli/dist/main.js"));

it.skipIf(!built || !hasAddon())("a server under mixed load answers everything as it must, the same question always the same", async () => {
  const result = await runSoak({ minutes: 1 / 6 });
  expect(result.failures).toEqual([]);
  expect(result.requests).toBeGreaterThan(10);
  expect(result.samples.length).toBeGreaterThan(3);
});
