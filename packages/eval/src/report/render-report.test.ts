import { describe, expect, it } from "vitest";
import { runSuite } from "../suite/run-suite.js";
import type { FidelityReport } from "../suite/suite-report.js";
import { createToyModel, toyArtifact, toyTokens } from "../test-support/toy-model.js";
import { spreadApart } from "./lines-plot.js";
import { element, render } from "./markup.js";
import { renderReport } from "./render-report.js";
import { linearScale, logScale } from "./scale.js";

const hostile = `<script>alert("x")</script>&`;

async function report(): Promise<FidelityReport> {
  const caches = [{ name: hostile, artifact: toyArtifact(0.5) }, { name: "fine", artifact: toyArtifact(0.1) }];
  const measured = await runSuite(createToyModel().model, {
    parts: ["kld", "drift", "passkey"],
    caches,
    tokens: toyTokens(900),
    lengths: [300, 400],
    windows: 1,
    tails: [0, 64],
    trials: 2,
    drift: { prompts: 1, promptTokens: 100, tokens: 8 },
  });
  return { ...measured, layers: [{ cache: "fine", layers: [{ key: 0.25, value: 0.125 }, { key: undefined, value: 0.5 }] }] };
}

describe("renderReport", () => {
  it("is one page that needs no network and no script, in light and dark", async () => {
    const page = renderReport(await report());
    expect(page.startsWith("<!doctype html>\n<html")).toBe(true);
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|https?:|\bsrc=|\bhref=|\bon\w+=/);
    expect(page).toContain("@media (prefers-color-scheme: dark)");
    expect(page).toContain("color-scheme: light dark");
  });

  it("escapes the names of caches", async () => {
    const page = renderReport(await report());
    expect(page).not.toContain(hostile);
    expect(page).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;");
  });

  it("closes every element it opens, and writes no NaN, undefined or object", async () => {
    const page = renderReport(await report());
    const body = page.slice(page.indexOf("<body"), page.indexOf("</html>"));
    const open: string[] = [];
    for (const [, end, name] of body.matchAll(/<(\/?)([a-z0-9]+)[^>]*>/g)) {
      if (end === "/") expect(open.pop()).toBe(name);
      else open.push(name!);
    }
    expect(open).toEqual([]);
    expect(body).not.toMatch(/NaN|undefined|\[object/);
  });

  it("has a figure for bits, places, distances and drift at each tail, two for layers, and a grid for each cache and tail", async () => {
    const page = renderReport(await report());
    const figures = page.match(/<figure/g)!.length;
    expect(figures).toBe(2 + 2 * (2 + 2) + 2 + 2 * 2 + 5);
    expect(page).toContain("not conclusive");
    for (const title of ["Error against true bits", "Windows of 300 tokens", "Windows of 400 tokens", "Pages by layer", "Drift while generating", "Passkey"]) expect(page).toContain(`>${title}<`);
    expect(page).not.toContain(">Needle<");
  });
});

describe("element", () => {
  it("escapes text and attributes, leaves out what is undefined, and rounds coordinates", () => {
    expect(render(element("text", { x: 1 / 3, class: 'a"b', y: undefined }, "1 < 2 & 3", element("b", {}, 4), undefined))).toBe('<text x="0.33" class="a&quot;b">1 &lt; 2 &amp; 3<b>4</b></text>');
  });
});

describe("scales", () => {
  it("have round ticks within the domain and keep what lies outside at the ends", () => {
    const linear = linearScale([2, 4.5], [0, 100], 5);
    expect(linear.ticks).toEqual([2, 2.5, 3, 3.5, 4, 4.5]);
    expect([2, 3.25, 4.5, 9, -9].map(linear.place)).toEqual([0, 50, 100, 100, 0]);
    const log = logScale([0.01, 1], [100, 0]);
    expect(log.ticks).toEqual([0.01, 0.1, 1].flatMap((tick) => (tick === 1 ? [1] : [tick, 3 * tick])).map((tick) => Number(tick.toPrecision(3))));
    expect(log.place(0.1)).toBeCloseTo(50, 9);
    expect([log.place(0), log.place(-1), log.place(1e9)]).toEqual([100, 100, 0]);
    expect(logScale([], [0, 1]).ticks.length).toBeGreaterThan(0);
  });
});

describe("spreadApart", () => {
  it("keeps the order and the gap, within the bounds", () => {
    expect(spreadApart([50, 10, 12, 51], { gap: 10, low: 0, high: 55 })).toEqual([45, 10, 20, 55]);
    expect(spreadApart([], { gap: 1, low: 0, high: 1 })).toEqual([]);
  });
});
