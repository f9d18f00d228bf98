/**
 * A "model" that copies: it predicts what followed the longest earlier match of its newest tokens. With fp16 it remembers everything; through a
 * cache whose stand-in artifact says `memory`, it only remembers that many of the newest tokens. So retrieval has known right answers.
 */

import type { KvCache } from "@kvquant/cache";
import type { KvqArtifact } from "@kvquant/quant";
import type { SuiteModel } from "../suite/suite-model.js";

const vocabulary = 130;
/** Probability of the copied token. */
export const COPY_PROBABILITY = 0.9;
/** Marks a hidden state that predicts nothing. */
const NOTHING = vocabulary;

/** Stands for an artifact that forgets: of a sequence, the newest `memory` tokens can be copied from. */
export function forgettingArtifact(memory: number): KvqArtifact {
  return { memory, sinkTokens: 1, layers: [] } as unknown as KvqArtifact;
}

/** The model: a token a character of ASCII, 1 begins a text and 2 ends it. Counts the tokens that went through it. */
export function createCopyModel(options: { readonly contextLength?: number; readonly fingerprint?: string } = {}): { readonly model: SuiteModel; readonly calls: { forward: number; tokens: number } } {
  const calls = { forward: 0, tokens: 0 };
  const createCache = (history: number[], memory: number): KvCache =>
    ({
      history,
      memory,
      quantizeOpenPage: false,
      get length() {
        return history.length;
      },
      fork: () => createCache([...history], memory),
      backends: () => ["copy"],
      dispose() {},
    }) as unknown as KvCache;
  const model = {
    name: "copy",
    engine: "copy-engine",
    fingerprint: options.fingerprint ?? "copy-fingerprint",
    config: { layers: 1, width: 1, vocabulary, contextLength: options.contextLength ?? 4096, rope: { scaling: { type: "none" } } },
    tokenizer: {
      bos: 1,
      addBos: true,
      eos: [2],
      encode(text: string, { addSpecial = true }: { addSpecial?: boolean } = {}) {
        return Int32Array.from([...(addSpecial ? [1] : []), ...Array.from(text, (letter) => letter.charCodeAt(0))]);
      },
      decode: (tokens: ArrayLike<number>) => Array.from(tokens, (token) => String.fromCharCode(token)).join(""),
    },
    createCache({ artifact }: { artifact: KvqArtifact | "fp16" }): KvCache {
      return createCache([], artifact === "fp16" ? Infinity : (artifact as unknown as { memory: number }).memory);
    },
    async forward(tokens: ArrayLike<number>, cache: KvCache): Promise<Float32Array> {
      const { history, memory } = cache as unknown as { history: number[]; memory: number };
      calls.forward++;
      calls.tokens += tokens.length;
      return Float32Array.from(tokens, (token) => {
        history.push(token);
        return predict(history, memory);
      });
    },
    async logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
      const scores = new Float32Array(rows * vocabulary).fill(Math.log((1 - COPY_PROBABILITY) / (vocabulary - 1)));
      for (let row = 0; row < rows; row++) {
        if (hidden[row] === NOTHING) scores.fill(-Math.log(vocabulary), row * vocabulary, (row + 1) * vocabulary);
        else scores[row * vocabulary + hidden[row]!] = Math.log(COPY_PROBABILITY);
      }
      return scores;
    },
  };
  return { model: model as unknown as SuiteModel, calls };
}

/** The token after the longest earlier match (up to 15 tokens) of the end of what is remembered; the newest of equals. */
function predict(history: readonly number[], memory: number): number {
  const start = Math.max(0, history.length - memory);
  let best = 0;
  let predicted = NOTHING;
  for (let end = history.length - 1; end > start; end--) {
    let match = 0;
    while (match < 15 && end - 1 - match >= start && history[end - 1 - match] === history[history.length - 1 - match]) match++;
    if (match > best) {
      best = match;
      predicted = history[end]!;
    }
  }
  return predicted;
}
