/** The language-model head: hidden states to logits or log-probabilities. */

import { KvquantError } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import { buildHeadGraph } from "./layer-graphs.js";
import { createSession, floatTensor } from "./session.js";
import type { FloatTensor, Session } from "./session.js";

/** Computes rows of the head; the result's buffer is reused by the next call. */
export class Head {
  readonly #config: ModelConfig;
  readonly #weight: FloatTensor;
  readonly #logits: Session;
  readonly #logProbabilities: Session;
  #buffer = new Float32Array(0);

  private constructor(config: ModelConfig, weight: FloatTensor, logits: Session, logProbabilities: Session) {
    this.#config = config;
    this.#weight = weight;
    this.#logits = logits;
    this.#logProbabilities = logProbabilities;
  }

  static async create(config: ModelConfig, weight: FloatTensor, threads?: number): Promise<Head> {
    const logits = await createSession(buildHeadGraph(config, "logits"), threads);
    return new Head(config, weight, logits, await createSession(buildHeadGraph(config, "logProbabilities"), threads));
  }

  /** hidden `[rows, width]` -> logits `[rows, vocabulary]`. */
  logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.#run(this.#logits, hidden, rows);
  }

  /** hidden `[rows, width]` -> log-softmax `[rows, vocabulary]`. */
  logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.#run(this.#logProbabilities, hidden, rows);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#logits.dispose(), this.#logProbabilities.dispose()]);
  }

  async #run(session: Session, hidden: Float32Array, rows: number): Promise<Float32Array> {
    const { width, vocabulary } = this.#config;
    if (hidden.length < rows * width) {
      throw new KvquantError("INVALID_ARGUMENT", `head: expected hidden states [${rows}, ${width}], got ${hidden.length} numbers`);
    }
    if (this.#buffer.length < rows * vocabulary) this.#buffer = new Float32Array(rows * vocabulary);
    const result = this.#buffer.subarray(0, rows * vocabulary);
    const inputs = { hidden: floatTensor(hidden.subarray(0, rows * width), [rows, width]), head: this.#weight };
    await session.run(inputs, { result: floatTensor(result, [rows, vocabulary]) });
    return result;
  }
}
