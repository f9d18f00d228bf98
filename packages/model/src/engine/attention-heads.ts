/** Moves rows between token-major activations and the per-head blocks that attention products work on. */

/** Sizes of one KV head's share of a run of queries. */
export interface QueryRun {
  /** First token of the run, and how many. */
  readonly start: number;
  readonly queries: number;
  readonly kvHead: number;
  readonly group: number;
  readonly queryHeads: number;
  readonly headDim: number;
}

/** Copies the group's rows of `x` `[tokens, queryHeads * headDim]` to `out` `[group, queries, headDim]`, times `scale`. */
export function gatherQueries(x: Float32Array, run: QueryRun, scale: number, out: Float32Array): void {
  const { start, queries, kvHead, group, queryHeads, headDim } = run;
  let target = 0;
  for (let member = 0; member < group; member++) {
    const head = kvHead * group + member;
    for (let query = 0; query < queries; query++) {
      const source = ((start + query) * queryHeads + head) * headDim;
      for (let index = 0; index < headDim; index++) out[target++] = x[source + index]! * scale;
    }
  }
}

/** The inverse of {@link gatherQueries}: writes `[group, queries, headDim]` times `scale` into `out` `[tokens, queryHeads * headDim]`. */
export function scatterQueries(x: Float32Array, run: QueryRun, scale: number, out: Float32Array): void {
  const { start, queries, kvHead, group, queryHeads, headDim } = run;
  let source = 0;
  for (let member = 0; member < group; member++) {
    const head = kvHead * group + member;
    for (let query = 0; query < queries; query++) {
      const target = ((start + query) * queryHeads + head) * headDim;
      for (let index = 0; index < headDim; index++) out[target + index] = x[source++]! * scale;
    }
  }
}

/** Copies one head of `x` `[tokens, heads * headDim]` to `[tokens, headDim]`. */
export function gatherHead(x: Float32Array, sizes: { tokens: number; heads: number; headDim: number }, head: number): Float32Array {
  const { tokens, heads, headDim } = sizes;
  const out = new Float32Array(tokens * headDim);
  for (let token = 0; token < tokens; token++) {
    const source = (token * heads + head) * headDim;
    out.set(x.subarray(source, source + headDim), token * headDim);
  }
  return out;
}

/** Adds `x` `[tokens, headDim]` to one head of `out` `[.., heads * headDim]`. */
export function addToHead(x: Float32Array, sizes: { tokens: number; heads: number; headDim: number }, head: number, out: Float32Array): void {
  const { tokens, heads, headDim } = sizes;
  let source = 0;
  for (let token = 0; token < tokens; token++) {
    const target = (token * heads + head) * headDim;
    for (let index = 0; index < headDim; index++) out[target + index]! += x[source++]!;
  }
}
