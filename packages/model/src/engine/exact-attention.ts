/** Exact causal attention of a whole window without a cache, with gradients and column sums: what calibration runs on. */

import { applyRope } from "@kvquant/rope";
import type { Rope, RopeTable } from "@kvquant/rope";
import type { ModelConfig } from "../config/model-config.js";
import { addToHead, gatherHead, gatherQueries, scatterQueries } from "./attention-heads.js";
import type { QueryRun } from "./attention-heads.js";
import { buildAttentionGradientGraph, buildAttentionGraph } from "./attention-graphs.js";
import { CausalMasks } from "./causal-mask.js";
import { createSession, floatTensor } from "./session.js";
import type { Session } from "./session.js";

/** Queries of one product: scores of a run stay in the third-level cache. */
const RUN_QUERIES = 256;

/** Query, key and value of a window before RoPE: `[rows, heads * headDim]` each. */
export interface AttentionInputs {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly rows: number;
}

/** For each key token and KV head, `[rows * kvHeads]`: sums over the queries and heads of the group. */
export interface ColumnSums {
  /** Sum of p - p^2. */
  readonly spread: Float32Array;
  /** Sum of p^2. */
  readonly square: Float32Array;
}

/** Windows of attention at positions 0 .. rows - 1. */
export class ExactAttention {
  readonly #config: ModelConfig;
  readonly #rope: Rope;
  readonly #forward: Session;
  readonly #gradient: Session;
  readonly #masks = new CausalMasks();

  private constructor(config: ModelConfig, rope: Rope, sessions: readonly [Session, Session]) {
    this.#config = config;
    this.#rope = rope;
    [this.#forward, this.#gradient] = sessions;
  }

  static async create(config: ModelConfig, rope: Rope, threads?: number): Promise<ExactAttention> {
    return new ExactAttention(config, rope, [
      await createSession(buildAttentionGraph(config.headDim, { columnSums: true }), threads),
      await createSession(buildAttentionGradientGraph(config.headDim), threads),
    ]);
  }

  /** Writes the attention output `[rows, queryHeads * headDim]` into `out` and returns the column sums. */
  async attend(inputs: AttentionInputs, out: Float32Array): Promise<ColumnSums> {
    const { kvHeads } = this.#config;
    const { rows } = inputs;
    const sums = { spread: new Float32Array(rows * kvHeads), square: new Float32Array(rows * kvHeads) };
    const rotated = this.#rotate(inputs);
    await this.#forEachRun(rotated, rows, async (run, tensors) => {
      const result = new Float32Array(tensors.q.size);
      const spread = new Float32Array(run.keys);
      const square = new Float32Array(run.keys);
      await this.#forward.run(tensors, {
        out: floatTensor(result, tensors.q.dims),
        spread: floatTensor(spread, [run.keys]),
        square: floatTensor(square, [run.keys]),
      });
      scatterQueries(result, run, 1, out);
      for (let token = 0; token < run.keys; token++) {
        sums.spread[token * kvHeads + run.kvHead]! += spread[token]!;
        sums.square[token * kvHeads + run.kvHead]! += square[token]!;
      }
    });
    return sums;
  }

  /** Gradients before RoPE of query, key and value, from the forward's `out` and `dOut` `[rows, queryHeads * headDim]`. */
  async gradients(inputs: AttentionInputs, out: Float32Array, dOut: Float32Array): Promise<Omit<AttentionInputs, "rows">> {
    const { queryHeads, kvHeads, headDim } = this.#config;
    const { rows } = inputs;
    const d = {
      query: new Float32Array(rows * queryHeads * headDim),
      key: new Float32Array(rows * kvHeads * headDim),
      value: new Float32Array(rows * kvHeads * headDim),
    };
    const rotated = this.#rotate(inputs);
    await this.#forEachRun(rotated, rows, async (run, tensors) => {
      const block = (x: Float32Array) => {
        const gathered = new Float32Array(tensors.q.size);
        gatherQueries(x, run, 1, gathered);
        return floatTensor(gathered, tensors.q.dims);
      };
      const dQ = new Float32Array(tensors.q.size);
      const dK = new Float32Array(run.keys * headDim);
      const dV = new Float32Array(run.keys * headDim);
      await this.#gradient.run(
        { ...tensors, out: block(out), dOut: block(dOut) },
        { dQ: floatTensor(dQ, tensors.q.dims), dK: floatTensor(dK, [run.keys, headDim]), dV: floatTensor(dV, [run.keys, headDim]) },
      );
      scatterQueries(dQ, run, this.#scale, d.query);
      const sizes = { tokens: run.keys, heads: kvHeads, headDim };
      addToHead(dK, sizes, run.kvHead, d.key);
      addToHead(dV, sizes, run.kvHead, d.value);
    });
    this.#applyRope(d.query, rotated.table, { rows, heads: queryHeads, inverse: true, squareFactor: true });
    this.#applyRope(d.key, rotated.table, { rows, heads: kvHeads, inverse: true, squareFactor: false });
    return d;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#forward.dispose(), this.#gradient.dispose()]);
  }

  get #scale(): number {
    return 1 / Math.sqrt(this.#config.headDim);
  }

  #rotate(inputs: AttentionInputs): AttentionInputs & { table: RopeTable } {
    const { queryHeads, kvHeads } = this.#config;
    const { rows } = inputs;
    const table = this.#rope.tables(0, rows, rows);
    const query = inputs.query.slice();
    const key = inputs.key.slice();
    this.#applyRope(query, table, { rows, heads: queryHeads, inverse: false, squareFactor: true });
    this.#applyRope(key, table, { rows, heads: kvHeads, inverse: false, squareFactor: false });
    return { query, key, value: inputs.value, rows, table };
  }

  /** Rotates in place; with `squareFactor` the rotary pairs are also multiplied by the squared attention factor (queries only). */
  #applyRope(x: Float32Array, table: RopeTable, options: { rows: number; heads: number; inverse: boolean; squareFactor: boolean }): void {
    const { headDim } = this.#config;
    const { rotaryDim } = this.#rope.config;
    const { rows, heads, inverse } = options;
    applyRope(x, table, { rows, heads, headDim, rotaryDim, pairing: "half", inverse });
    const factor = table.attentionFactor * table.attentionFactor;
    if (!options.squareFactor || factor === 1) return;
    for (let start = 0; start < rows * heads * headDim; start += headDim) {
      for (let index = 0; index < rotaryDim; index++) x[start + index]! *= factor;
    }
  }

  /** Calls `use` with the forward's inputs for each KV head and run of queries. */
  async #forEachRun(
    rotated: AttentionInputs,
    rows: number,
    use: (run: QueryRun & { keys: number }, tensors: Record<"q" | "k" | "v" | "mask", ReturnType<typeof floatTensor>>) => Promise<void>,
  ): Promise<void> {
    const { queryHeads, kvHeads, headDim } = this.#config;
    const group = queryHeads / kvHeads;
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const sizes = { tokens: rows, heads: kvHeads, headDim };
      const k = gatherHead(rotated.key, sizes, kvHead);
      const v = gatherHead(rotated.value, sizes, kvHead);
      for (let start = 0; start < rows; start += RUN_QUERIES) {
        const queries = Math.min(RUN_QUERIES, rows - start);
        const keys = start + queries;
        const run = { start, queries, kvHead, group, queryHeads, headDim, keys };
        const q = new Float32Array(group * queries * headDim);
        gatherQueries(rotated.query, run, this.#scale, q);
        await use(run, {
          q: floatTensor(q, [group, queries, headDim]),
          k: floatTensor(k.subarray(0, keys * headDim), [keys, headDim]),
          v: floatTensor(v.subarray(0, keys * headDim), [keys, headDim]),
          mask: this.#masks.get(queries, keys),
        });
      }
    }
  }
}
