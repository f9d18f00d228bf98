/** Keys and values of consecutive tokens in fp16, in chunks that are never moved. */

import { decodeHalf } from "@kvquant/packing";

/** One side of the tokens held, as chunks of fp16 rows `[chunkTokens, cols]`. */
type Chunks = Uint16Array[];

/** A queue of tokens: grows at the end, shrinks at both. Rows are keys before RoPE, and values, `[tokens, cols]` each. */
export interface ExactTokens {
  readonly tokens: number;
  /** Allocated bytes, both sides. */
  readonly byteLength: number;
  /** The storage of chunk `index`, to tell shared chunks; undefined beyond the last. */
  chunk(index: number): Uint16Array | undefined;
  /** Appends rows `from .. from + count` of `keys` and `values` (fp16 bits). */
  append(keys: Uint16Array, values: Uint16Array, range: { from: number; count: number }): void;
  /** Decodes `count` rows of one side from row `first` on into `out` `[count, cols]`; all rows must lie in one chunk. */
  read(side: "key" | "value", range: { first: number; count: number }, out: Float32Array): void;
  /** Drops all rows from `tokens` on. */
  truncate(tokens: number): void;
  /** Drops the first `chunks` chunks, all of them full. */
  dropChunks(chunks: number): void;
  /** An independent copy; full chunks are shared. */
  fork(): ExactTokens;
}

/**
 * Makes an empty queue. A chunk is owned until it is full and immutable from then on: forks share full chunks, and
 * truncating into one copies it. Growing copies nothing, and allocates `chunkTokens` tokens at a time.
 */
export function createExactTokens(cols: number, chunkTokens: number): ExactTokens {
  return assemble({ cols, chunkTokens, keys: [], values: [], tokens: 0 });
}

interface State {
  readonly cols: number;
  readonly chunkTokens: number;
  keys: Chunks;
  values: Chunks;
  tokens: number;
}

function assemble(state: State): ExactTokens {
  const { cols, chunkTokens } = state;
  return {
    get tokens() {
      return state.tokens;
    },
    get byteLength() {
      return (state.keys.length + state.values.length) * chunkTokens * cols * 2;
    },
    chunk: (index) => state.keys[index],
    append(keys, values, { from, count }) {
      for (let done = 0; done < count; ) {
        const used = state.tokens % chunkTokens;
        if (used === 0) {
          state.keys.push(new Uint16Array(chunkTokens * cols));
          state.values.push(new Uint16Array(chunkTokens * cols));
        }
        const rows = Math.min(count - done, chunkTokens - used);
        const begin = (from + done) * cols;
        state.keys.at(-1)!.set(keys.subarray(begin, begin + rows * cols), used * cols);
        state.values.at(-1)!.set(values.subarray(begin, begin + rows * cols), used * cols);
        state.tokens += rows;
        done += rows;
      }
    },
    read(side, { first, count }, out) {
      const chunk = (side === "key" ? state.keys : state.values)[Math.floor(first / chunkTokens)]!;
      const begin = (first % chunkTokens) * cols;
      decodeHalf(chunk.subarray(begin, begin + count * cols), out);
    },
    truncate(tokens) {
      const chunks = Math.ceil(tokens / chunkTokens);
      const wasFull = Math.floor(state.tokens / chunkTokens);
      state.keys.length = chunks;
      state.values.length = chunks;
      if (tokens % chunkTokens !== 0 && chunks <= wasFull) copyLast(state);
      state.tokens = tokens;
    },
    dropChunks(chunks) {
      state.keys.splice(0, chunks);
      state.values.splice(0, chunks);
      state.tokens -= chunks * chunkTokens;
    },
    fork() {
      const copy: State = { ...state, keys: [...state.keys], values: [...state.values] };
      if (state.tokens % chunkTokens !== 0) copyLast(copy);
      return assemble(copy);
    },
  };
}

function copyLast(state: State): void {
  state.keys[state.keys.length - 1] = state.keys.at(-1)!.slice();
  state.values[state.values.length - 1] = state.values.at(-1)!.slice();
}
