// The peer: next-token log-probabilities from llama.cpp.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const NEUTRAL = { temperature: 1, topK: 0, topP: 1, minP: 0 };
/** Tokens whose whole distributions are held at once: each is a map of the vocabulary. */
const CHUNK = 64;

/** Opens a GGUF in llama.cpp with an f16 cache. */
export async function openPeer(path, contextSize) {
  const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({ contextSize, batchSize: 512, flashAttention: false });
  const sequence = context.getSequence();
  return {
    /** Log-probabilities of the whole vocabulary after each token: an array of Float64Array. */
    async distributions(tokens, vocabulary) {
      await sequence.clearHistory();
      return evaluateChunk(sequence, tokens, vocabulary);
    },
    /** Mean negative log-likelihood of each next token. */
    async meanLoss(tokens, vocabulary) {
      await sequence.clearHistory();
      let loss = 0;
      for (let start = 0; start + 1 < tokens.length; start += CHUNK) {
        const chunk = tokens.slice(start, Math.min(start + CHUNK, tokens.length - 1));
        const distributions = await evaluateChunk(sequence, chunk, vocabulary);
        distributions.forEach((logProbabilities, index) => (loss -= logProbabilities[tokens[start + index + 1]]));
      }
      return loss / (tokens.length - 1);
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

/** Appends tokens to the sequence and returns the log-probabilities after each. */
async function evaluateChunk(sequence, tokens, vocabulary) {
  const inputs = Array.from(tokens, (token) => [token, { generateNext: { logits: true, options: NEUTRAL } }]);
  const outputs = await sequence.controlledEvaluate(inputs);
  return outputs.map((output) => logSoftmax(output.next.logits, vocabulary));
}

function logSoftmax(logits, vocabulary) {
  const values = new Float64Array(vocabulary).fill(-Infinity);
  for (const [token, logit] of logits) values[token] = logit;
  const maximum = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const total = values.reduce((sum, value) => sum + Math.exp(value - maximum), 0);
  return values.map((value) => value - maximum - Math.log(total));
}
