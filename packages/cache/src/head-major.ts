/** Copies between token-major rows and the head-major blocks that attention kernels read. */

/**
 * Writes token-major rows `[rows, heads * headDim]` of `source` to head-major `target` `[heads][capacity, headDim]`,
 * rows `at .. at + rows` of each head.
 */
export function scatterHeads(
  source: Float32Array,
  target: Float32Array,
  layout: { readonly rows: number; readonly heads: number; readonly headDim: number; readonly capacity: number; readonly at: number },
): void {
  const { rows, heads, headDim, capacity, at } = layout;
  let from = 0;
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const to = (head * capacity + at + row) * headDim;
      for (let d = 0; d < headDim; d++) target[to + d] = source[from + d]!;
      from += headDim;
    }
  }
}

/** Where the G query heads of a KV head lie in token-major rows. */
export interface GroupLayout {
  /** First row. */
  readonly row: number;
  readonly rows: number;
  readonly queryHeads: number;
  readonly headDim: number;
  /** First query head of the group. */
  readonly head: number;
  readonly group: number;
}

/** Copies one group out of `source` `[.., queryHeads * headDim]` into `block` `[group * rows, headDim]`, row `g * rows + i`. */
export function gatherGroup(source: Float32Array, block: Float32Array, layout: GroupLayout): void {
  const { row, rows, queryHeads, headDim, head, group } = layout;
  let to = 0;
  for (let g = 0; g < group; g++) {
    for (let i = 0; i < rows; i++) {
      const from = ((row + i) * queryHeads + head + g) * headDim;
      for (let d = 0; d < headDim; d++) block[to + d] = source[from + d]!;
      to += headDim;
    }
  }
}

/** The inverse of `gatherGroup`. */
export function scatterGroup(block: Float32Array, target: Float32Array, layout: GroupLayout): void {
  const { row, rows, queryHeads, headDim, head, group } = layout;
  let from = 0;
  for (let g = 0; g < group; g++) {
    for (let i = 0; i < rows; i++) {
      const to = ((row + i) * queryHeads + head + g) * headDim;
      for (let d = 0; d < headDim; d++) target[to + d] = block[from + d]!;
      from += headDim;
    }
  }
}
