import fc from "fast-check";
import { expect, it } from "vitest";

import { createRope, ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { createKvCache } from "./kv-cache.js";
import { createMirror } from "./fixtures/mirror.js";
import { feed, maximumDifference, randomSequence } from "./testing/test-sequence.js";
import { float32Codec, referenceCacheAttention } from "./testing/index.js";

const shape: CacheShape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 8 };
const ropeConfig: RopeConfig = { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "none" } };
const { inverseFrequencies } = ropeFrequencies(ropeConfig, 1);
const sources = [randomSequence(shape, 2000, 11), randomSequence(shape, 2000, 12)] as const;

/** What happens to a cache, one step after another. */
type Step =
  | { readonly type: "feed"; readonly tokens: number }
  | { readonly type: "append"; readonly tokens: number }
  | { readonly type: "truncate"; readonly keep: number }
  | { readonly type: "fork"; readonly swap: boolean; readonly cut: number };

/** Of the tokens held; `fc.double` would nearly always be close to 0. */
const share = fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("feed" as const), tokens: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 90 })) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("append" as const), tokens: fc.integer({ min: 1, max: 90 }) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("truncate" as const), keep: share }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("fork" as const), swap: fc.boolean(), cut: share }) },
);

/** The page each token was compressed in, for good, named by its first token; undefined while it is exact. */
type Ledger = (number | undefined)[];

/** What the query at `position` sees: compressed tokens stay so, and each later group of 64 counts once its last is outside the tail. */
function seenBy(ledger: Ledger, position: number, { sinkTokens, tailTokens }: { sinkTokens: number; tailTokens: number }): Ledger {
  const seen = [...ledger];
  const open = seen.findIndex((page, token) => token >= sinkTokens && page === undefined);
  for (let first = open; first >= 0 && first + 63 <= position - tailTokens && first + 63 < seen.length; first += 64) seen.fill(first, first, first + 64);
  return seen;
}

it.each(["decoded tiles", "a plug-in that reads pages"])("agrees with float64 and a token-by-token ledger after any history of appends, attends, truncations and forks, on %s", async (by) => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(0, 1, 4), fc.constantFrom(0, 1, 20, 64), fc.array(step, { minLength: 3, maxLength: 9 }), async (sinkTokens, tailTokens, steps) => {
      const plan = { key: float32Codec(0.5), value: float32Codec(8), keyFrame: "pre-rope" as const };
      const rope = createRope(ropeConfig);
      const attention = by === "decoded tiles" ? {} : { attention: createMirror({ shape, rope, ...plan }) };
      let cache = createKvCache({ shape, rope, layers: [plan], sinkTokens, tailTokens, ...attention });
      const rule = { sinkTokens, tailTokens };
      let ledger: Ledger = [];
      // Position p holds row p of the sequence that `held` says.
      const held = { k: new Float32Array(2000 * 8), v: new Float32Array(2000 * 8), q: new Float32Array(2000 * 16), shape, tokens: 0 };
      for (const [index, current] of steps.entries()) {
        const source = sources[index % 2]!;
        const from = cache.length;
        if (current.type === "feed" || current.type === "append") {
          const to = from + current.tokens;
          for (const [name, cols] of [["k", 8], ["v", 8], ["q", 16]] as const) held[name].set(source[name].subarray(from * cols, to * cols), from * cols);
          ledger = [...seenBy(ledger, from - 1, rule), ...new Array<undefined>(current.tokens).fill(undefined)];
          if (current.type === "append") {
            cache.layer(0).append({ data: held.k.subarray(from * 8, to * 8), rows: to - from, cols: 8 }, { data: held.v.subarray(from * 8, to * 8), rows: to - from, cols: 8 });
            continue;
          }
          const out = await feed(cache, held, { from, to });
          const seen = Array.from({ length: to }, (_, position) => seenBy(ledger, position, rule));
          const reference = referenceCacheAttention({
            ...held,
            tokens: to,
            inverseFrequencies,
            compressed: (token, position) => seen[position]![token] !== undefined,
            code: (x, side) => Math.fround(x + (side === "key" ? 0.5 : 8)),
          });
          expect(maximumDifference(out, reference.subarray(from * 16))).toBeLessThan(2e-5);
          ledger = seenBy(ledger, to - 1, rule);
        } else if (current.type === "truncate") {
          const keep = Math.floor(current.keep * from);
          if (keep === from) continue;
          cache.truncate(keep);
          ledger.length = keep;
        } else {
          const fork = cache.fork();
          const idle = current.swap ? cache : fork;
          if (current.swap) cache = fork;
          idle.truncate(Math.floor(current.cut * from));
          await feed(idle, sources[1 - (index % 2)]!, { from: idle.length, to: idle.length + 70 });
        }
      }
    }),
    { numRuns: 80, seed: 1 },
  );
});
