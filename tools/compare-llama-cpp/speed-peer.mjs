// The peer's process of `kvquant bench model --peer`: one context of llama.cpp that is filled, decoded from and taken back, as asked by messages.
import { performance } from "node:perf_hooks";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

/** Bytes of one number in a cache of each type. */
const NUMBER_BYTES = { f16: 2, q4_0: 18 / 32 };

/** @type {import("node-llama-cpp").LlamaContextSequence} */
let sequence;

const handlers = {
  /** Bytes of a token in the cache. */
  async open({ path, cache, threads, contextSize }) {
    const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 0 });
    const model = await llama.loadModel({ modelPath: path });
    const type = cache.toUpperCase();
    const context = await model.createContext({ contextSize, batchSize: 512, threads, flashAttention: true, experimentalKvCacheKeyType: type, experimentalKvCacheValueType: type });
    sequence = context.getSequence();
    const { architecture } = model.fileInfo.metadata.general;
    const { block_count: layers, embedding_length: width, attention } = model.fileInfo.metadata[architecture];
    const headDim = attention.key_length ?? width / attention.head_count;
    return 2 * layers * (attention.head_count_kv ?? attention.head_count) * headDim * NUMBER_BYTES[cache];
  },
  async clear() {
    await sequence.clearHistory();
    return 0;
  },
  /** Seconds. */
  async fill({ tokens }) {
    const started = performance.now();
    if (tokens.length > 0) await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    return (performance.now() - started) / 1000;
  },
  /** Seconds of greedy steps, after one that is not counted; the sequence is then as it was. */
  async decode({ token, steps }) {
    const depth = sequence.nextTokenIndex;
    const decoding = sequence.evaluate([token], { temperature: 0, yieldEogToken: true });
    await decoding.next();
    const started = performance.now();
    for (let step = 0; step < steps; step++) await decoding.next();
    const seconds = (performance.now() - started) / 1000;
    await decoding.return();
    await sequence.eraseContextTokenRanges([{ start: depth, end: sequence.nextTokenIndex }]);
    if (sequence.nextTokenIndex !== depth) throw new Error(`expected ${depth} tokens after taking back the steps, got ${sequence.nextTokenIndex}`);
    return seconds;
  },
  /** Resident bytes. */
  async memory() {
    return process.memoryUsage().rss;
  },
};

process.on("message", async (request) => {
  try {
    process.send({ result: await handlers[request.kind](request) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on("disconnect", () => process.exit());
