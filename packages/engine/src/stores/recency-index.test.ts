import { expect, it } from "vitest";
import { createRecencyIndex } from "./recency-index.js";

it("a recency index gives up the least recently used first and counts what is left", () => {
  const index = createRecencyIndex();
  for (const [key, size] of [["a", 10], ["b", 20], ["c", 30], ["a", 5]] as const) index.set(key, size);
  index.touch("b");
  index.touch("never set");
  expect([index.bytes, index.keys("")]).toEqual([55, ["c", "a", "b"]]);
  expect(index.evict(55)).toEqual([]);
  expect(index.evict(24)).toEqual([{ key: "c", size: 30 }, { key: "a", size: 5 }]);
  expect([index.bytes, index.size("b"), index.size("a")]).toEqual([20, 20, undefined]);
  index.delete("never set");
  expect(index.evict(0)).toEqual([{ key: "b", size: 20 }]);
  expect(index.bytes).toBe(0);
});
