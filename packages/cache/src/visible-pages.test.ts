import { describe, expect, it } from "vitest";

import { lastPositionSeeing, visiblePages } from "./visible-pages.js";

const sinkCounts = [0, 1, 4, 70];
const tails = [0, 1, 2, 63, 64, 65, 100, 128, 1000];
const positions = Array.from({ length: 700 }, (_, position) => position);

/** Pages whose last token is at most position - tail, counted one by one. */
function countPages(position: number, sinkTokens: number, tailTokens: number): number {
  let pages = 0;
  while (sinkTokens + 64 * pages + 63 <= position - tailTokens) pages++;
  return pages;
}

describe("visiblePages", () => {
  for (const sinkTokens of sinkCounts) {
    it(`counts the pages whose last token is older than the tail, ${sinkTokens} sinks`, () => {
      for (const tailTokens of tails) {
        const rule = { closedPages: 0, openStart: sinkTokens, tailTokens };
        expect(positions.map((position) => visiblePages(position, rule))).toEqual(positions.map((position) => countPages(position, sinkTokens, tailTokens)));
      }
    });

    it(`does not depend on how many pages an older position closed, ${sinkTokens} sinks`, () => {
      for (const tailTokens of tails) {
        for (const position of positions) {
          const pages = countPages(position, sinkTokens, tailTokens);
          const counts = Array.from({ length: pages + 1 }, (_, closedPages) => visiblePages(position, { closedPages, openStart: sinkTokens + 64 * closedPages, tailTokens }));
          if (counts.some((count) => count !== pages)) expect.fail(`tail ${tailTokens}, position ${position}: expected ${pages}, got ${counts.join(" ")}`);
        }
      }
    });
  }

  it("keeps the newest tailTokens tokens exact, and at most 63 more", () => {
    for (const tailTokens of tails) {
      const full = positions.filter((position) => position >= tailTokens);
      const exact = full.map((position) => position - 64 * visiblePages(position, { closedPages: 0, openStart: 1, tailTokens }));
      if (full.length === 0) continue;
      expect(Math.min(...exact)).toBe(tailTokens);
      expect(Math.max(...exact)).toBe(Math.min(tailTokens + 63, 699));
    }
  });

  it("closes a page as soon as it is full when there is no tail", () => {
    const rule = { closedPages: 0, openStart: 1, tailTokens: 0 };
    expect([0, 63, 64, 127, 128].map((position) => visiblePages(position, rule))).toEqual([0, 0, 1, 1, 2]);
  });

  it("always counts closed pages, whatever the tail asks for after a truncation", () => {
    expect(visiblePages(70, { closedPages: 2, openStart: 70, tailTokens: 64 })).toBe(2);
    expect(visiblePages(70 + 63 + 64, { closedPages: 2, openStart: 70, tailTokens: 64 })).toBe(3);
    expect(visiblePages(70 + 63 + 63, { closedPages: 2, openStart: 70, tailTokens: 64 })).toBe(2);
  });

  it("sees no pages with an infinite tail", () => {
    const rule = { closedPages: 0, openStart: 0, tailTokens: Infinity };
    expect(visiblePages(1e9, rule)).toBe(0);
    expect(lastPositionSeeing(0, rule)).toBe(Infinity);
  });
});

describe("lastPositionSeeing", () => {
  it("is the last position before one more page becomes visible", () => {
    for (const tailTokens of tails) {
      for (const [closedPages, openStart] of [[0, 1], [0, 0], [3, 193], [2, 70]] as const) {
        const rule = { closedPages, openStart, tailTokens };
        for (let pages = closedPages; pages < closedPages + 5; pages++) {
          const last = lastPositionSeeing(pages, rule);
          expect(visiblePages(last, rule)).toBe(pages);
          expect(visiblePages(last + 1, rule)).toBe(pages + 1);
        }
      }
    }
  });
});
