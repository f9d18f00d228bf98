import { describe, expect, it } from "vitest";

import { feedBoth, makeCache, other, sequence } from "./fixtures/small-cache.js";
import { maximumDifference } from "./testing/test-sequence.js";

describe("fork", () => {
  it("gives two caches that go on independently, sharing blocks", async () => {
    for (const at of [65, 130, 200]) {
      const trunk = makeCache({ tailTokens: 1 });
      await feedBoth(trunk, sequence, 0, at);
      const branch = trunk.fork();
      expect(branch.layer(0).pages()[0]?.key).toBe(trunk.layer(0).pages()[0]?.key);
      const onTrunk = await feedBoth(trunk, sequence, at, at + 70);
      const onBranch = await feedBoth(branch, other, at, at + 70);
      for (const [source, got] of [[sequence, onTrunk], [other, onBranch]] as const) {
        const fresh = makeCache({ tailTokens: 1 });
        await feedBoth(fresh, sequence, 0, at);
        expect(maximumDifference(got, await feedBoth(fresh, source, at, at + 70))).toBeLessThan(1e-6);
      }
    }
  });

  it("survives truncation and disposal of the cache it came from", async () => {
    const trunk = makeCache();
    await feedBoth(trunk, sequence, 0, 150);
    const branch = trunk.fork();
    const twin = trunk.fork();
    const expected = await feedBoth(twin, sequence, 150, 151);
    trunk.truncate(70);
    await feedBoth(trunk, other, 70, 75);
    trunk.dispose();
    expect(maximumDifference(await feedBoth(branch, sequence, 150, 151), expected)).toBe(0);
  });
});
