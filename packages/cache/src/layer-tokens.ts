/** The tokens of one layer: sinks, closed pages, and the exact rest. */

import { PAGE_TOKENS } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";
import { createExactTokens } from "./exact-tokens.js";
import type { ExactTokens } from "./exact-tokens.js";
import type { PageRule } from "./visible-pages.js";

/** Storage of one layer in position order: sinks, then closed pages, then exact tokens (tail and open page). No rules, no checks. */
export interface LayerTokens {
  readonly length: number;
  /** First tokens that never enter a page. */
  readonly sinkTokens: number;
  readonly sinks: ExactTokens;
  readonly pages: readonly CachePage[];
  /** Tokens from `openStart()` on, in chunks that are the pages to come. */
  readonly open: ExactTokens;
  /** Position where the next page starts. */
  openStart(): number;
  rule(tailTokens: number): PageRule;
  /** Appends `rows` tokens as fp16 bits `[rows, cols]`. */
  append(keys: Uint16Array, values: Uint16Array, rows: number): void;
  /** Adds pages that follow the closed ones, and drops their exact copies. */
  close(pages: readonly CachePage[]): void;
  truncate(tokens: number): void;
  /** Decodes exact tokens from position `first` on, sinks or others but not both, into `[count, cols]` each. */
  readExact(range: { readonly first: number; readonly count: number }, keys: Float32Array, values: Float32Array): void;
  fork(): LayerTokens;
}

/** Makes empty storage for rows of `cols` numbers, the first `sinkTokens` of which never enter a page. */
export function createLayerTokens(cols: number, sinkTokens: number): LayerTokens {
  return assemble(sinkTokens, {
    sinks: createExactTokens(cols, Math.max(1, sinkTokens)),
    open: createExactTokens(cols, PAGE_TOKENS),
    pages: [],
  });
}

interface Parts {
  readonly sinks: ExactTokens;
  readonly open: ExactTokens;
  readonly pages: CachePage[];
}

function assemble(sinkTokens: number, { sinks, open, pages }: Parts): LayerTokens {
  const openStart = (): number => {
    const last = pages.at(-1);
    return last === undefined ? sinkTokens : last.start + last.tokens;
  };
  return {
    get length() {
      return sinks.tokens < sinkTokens ? sinks.tokens : openStart() + open.tokens;
    },
    sinkTokens,
    sinks,
    pages,
    open,
    openStart,
    rule(tailTokens) {
      return { closedPages: pages.length, openStart: openStart(), tailTokens };
    },
    append(keys, values, rows) {
      const toSinks = Math.min(rows, sinkTokens - sinks.tokens);
      sinks.append(keys, values, { from: 0, count: toSinks });
      open.append(keys, values, { from: toSinks, count: rows - toSinks });
    },
    close(closing) {
      for (const page of closing) {
        if (page.tokens === PAGE_TOKENS) open.dropChunks(1);
        else open.truncate(0);
        pages.push(page);
      }
    },
    truncate(tokens) {
      if (tokens >= openStart()) {
        open.truncate(tokens - openStart());
        return;
      }
      open.truncate(0);
      while (pages.length > 0 && pages.at(-1)!.start >= tokens) pages.pop();
      const last = pages.at(-1);
      if (last !== undefined && last.start + last.tokens > tokens) pages[pages.length - 1] = { ...last, tokens: tokens - last.start };
      if (tokens < sinks.tokens) sinks.truncate(tokens);
    },
    readExact({ first, count }, keys, values) {
      const isSink = first < sinkTokens;
      const exact = isSink ? sinks : open;
      const chunkTokens = isSink ? Math.max(1, sinkTokens) : PAGE_TOKENS;
      const from = isSink ? first : first - openStart();
      const cols = keys.length / count;
      for (let done = 0; done < count; ) {
        const rows = Math.min(count - done, chunkTokens - ((from + done) % chunkTokens));
        const range = { first: from + done, count: rows };
        exact.read("key", range, keys.subarray(done * cols, (done + rows) * cols));
        exact.read("value", range, values.subarray(done * cols, (done + rows) * cols));
        done += rows;
      }
    },
    fork() {
      return assemble(sinkTokens, { sinks: sinks.fork(), open: open.fork(), pages: [...pages] });
    },
  };
}
