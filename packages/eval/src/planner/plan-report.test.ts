import { expect, it } from "vitest";
import type { Plan } from "./plan.js";
import { renderPlanReport } from "./plan-report.js";

const plan: Plan = {
  tensors: [
    { layer: 0, side: "key", option: "page:3", bits: 3.25, damage: 0.01 },
    { layer: 0, side: "value", option: "token-1%:5", bits: 5.48, damage: 0.02 },
  ],
  bitsPerValue: 4.365,
  predictedKld: 0.03,
  cacheBytes: 3 * 2 ** 20,
};
const front = [{ bitsPerValue: 2.2, predictedKld: 0.2, cacheBytes: 1 }, plan, { bitsPerValue: 5.3, predictedKld: 0.002, cacheBytes: 2 }];
const content = { model: "a <b> & c", cache: "kvq:4.37", plan, front, tokens: 262_144, measured: [{ bitsPerValue: 4.365, kld: 0.041 }] };

it("is one document that asks nothing of the network, with both colour schemes", () => {
  const page = renderPlanReport(content);
  expect(page).not.toMatch(/https?:|<script|<link|url\(|src=/);
  expect(page).toContain("prefers-color-scheme: dark");
  expect(page).toContain("a &lt;b&gt; &amp; c");
});

it("draws the front from left above to right below, the plan on it, and the measured point above it", () => {
  const page = renderPlanReport(content);
  const points = /<polyline class="front" points="([^"]+)"/.exec(page)![1]!.split(" ").map((point) => point.split(",").map(Number));
  expect(points).toHaveLength(3);
  for (const index of [1, 2]) {
    expect(points[index]![0]).toBeGreaterThan(points[index - 1]![0]!);
    expect(points[index]![1]).toBeGreaterThan(points[index - 1]![1]!);
  }
  const place = (name: string): number[] => [...new RegExp(`<circle class="${name}" cx="([\\d.]+)" cy="([\\d.]+)"`).exec(page)!].slice(1).map(Number);
  expect(place("chosen")).toEqual(points[1]);
  expect(place("measured")[0]).toBe(points[1]![0]);
  expect(place("measured")[1]).toBeLessThan(points[1]![1]!);
});

it("has a bar and a row for every tensor, and says when the plan was not run", () => {
  const page = renderPlanReport({ ...content, measured: [] });
  expect(page.match(/<rect class="(key|value)" x="[^"]+" y="[^"]+" width="[^"]+" height="[^"]+"><title>/g)).toHaveLength(2);
  expect(page).toContain("layer 0, values: token-1%:5, 5.48 bits");
  expect(page).toContain("not run");
  expect(page).not.toContain('class="measured"');
});
