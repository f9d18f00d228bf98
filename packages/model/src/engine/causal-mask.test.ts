import { expect, test } from "vitest";
import { CausalMasks } from "./causal-mask.js";

test("query i of n at the end of the keys sees the keys up to its own", () => {
  const masks = new CausalMasks();
  const seen = ({ data, dims }: ReturnType<CausalMasks["get"]>) => ({ dims: [...dims], seen: Array.from(data as Float32Array, (number) => (number === 0 ? 1 : 0)) });
  expect(seen(masks.get(3, 4))).toEqual({ dims: [3, 4], seen: [1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1] });
  expect(seen(masks.get(2, 2))).toEqual({ dims: [2, 2], seen: [1, 0, 1, 1] });
  expect(seen(masks.get(1, 3))).toEqual({ dims: [1, 3], seen: [1, 1, 1] });
  expect(seen(masks.get(1, 9))).toEqual({ dims: [1, 9], seen: [1, 1, 1, 1, 1, 1, 1, 1, 1] });
  expect(masks.get(1, 3).dims).toEqual([1, 3]);
});

test("masks are kept up to 64 MiB in all, the oldest given up first", () => {
  const masks = new CausalMasks();
  const half = 1 << 23;
  const [wide, tall, small] = [[64, half / 64], [128, half / 128], [2, 2]] as const;
  const [first, second] = [masks.get(...wide), masks.get(...tall)];
  // Compared here: matchers look into arrays of that size for minutes.
  expect(masks.get(...wide) === first).toBe(true);
  const third = masks.get(...small);
  expect([masks.get(...small) === third, masks.get(...tall) === second, masks.get(...wide) === first]).toEqual([true, true, false]);
});
