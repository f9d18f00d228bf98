// The peer: next-token log-probabilities from llama.cpp.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const NEUTRAL = { temperature: 1, topK: 0, topP: 1, minP: 0 };

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
      const inputs = Array.from(tokens, (token) => [token, { generateNext: { logits: true, options: NEUTRAL } }]);
      const outputs = await sequence.controlledEvaluate(inputs);
      return outputs.map((output) => logSoftmax(output.next.logits, vocabulary));
    },
    /** Mean negative log-likelihood of each next token; a whole distribution a position would take seconds, so the sampled token's probability anchors it. */
    async meanLoss(tokens) {
      await sequence.clearHistory();
      const inputs = Array.from(tokens.slice(0, -1), (token, index) => {
        const filter = { tokens: [tokens[index + 1]], includeSelected: true };
        return [token, { generateNext: { token: true, confidence: true, logits: { filter }, options: NEUTRAL } }];
      });
      const outputs = await sequence.controlledEvaluate(inputs);
      const loss = outputs.reduce((sum, { next: { token, confidence, logits } }, index) => sum - Math.log(confidence) - logits.get(tokens[index + 1]) + logits.get(token), 0);
      return loss / (tokens.length - 1);
    },
    async dispose() {
      await context.dispose();
      await model.dispose();
      await llama.dispose();
    },
  };
}

function logSoftmax(logits, vocabulary) {
  const values = new Float64Array(vocabulary).fill(-Infinity);
  for (const [token, logit] of logits) values[token] = logit;
  const maximum = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const total = values.reduce((sum, value) => sum + Math.exp(value - maximum), 0);
  return values.map((value) => value - maximum - Math.log(total));
}
