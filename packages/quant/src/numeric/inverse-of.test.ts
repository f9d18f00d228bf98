import { expect, test } from "vitest";
import { inverseOf } from "./inverse-of.js";

test("reciprocals are rounded to fp32, and that of no scale is 0", () => {
  expect([3, 0.5, 0, -0].map(inverseOf)).toEqual([Math.fround(1 / 3), 2, 0, 0]);
});
