/** Row-major matrices, and the small words every package shares. */

/** Row-major view, `data[row * cols + col]`; borrowed for the call. */
export interface Matrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

/** Code widths that packing formats exist for. */
export type Bits = 1 | 2 | 3 | 4 | 5 | 8;

/** What shares one scale: all tokens of a channel, or all channels of a token. */
export type Axis = "channel" | "token";

/** Which half of the cache. */
export type Side = "key" | "value";

/** Tokens of a full page; a page belongs to one layer. */
export const PAGE_TOKENS = 64;
