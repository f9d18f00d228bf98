// A page of keys through two quantizers: bits with everything counted, and the error each leaves.
import { channelKeys, createStatisticsCollector, integer } from "@kvquant/quant";
import { bitsPerValue } from "@kvquant/spec";

const shape = { layers: 1, queryHeads: 2, kvHeads: 2, headDim: 64 };
const cols = shape.kvHeads * shape.headDim;
/** Keys as models have them: every channel has its own offset and width. @param {number} rows @param {number} seed */
const makeKeys = (rows, seed) => ({ data: Float32Array.from({ length: rows * cols }, (_, index) => 3 * Math.sin(index % cols) + (1 + (index % 7)) * Math.sin((index + seed) ** 2)), rows, cols });

const collector = createStatisticsCollector({ shape, rope: { headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "none" } }, sinkTokens: 1, sensitivity: "none" });
const k = makeKeys(1024, 0);
collector.add(0, { k, v: k });
const [statistics] = collector.finish().layers;

const page = makeKeys(64, 5);
const quantizers = { "int3 by token": integer({ side: "key", bits: 3, axis: "token" }), "nuq3 by channel": channelKeys({ bits: 3 }), "nuq3-1% by channel": channelKeys({ bits: 3, outliers: 0.01 }) };
for (const [name, quantizer] of Object.entries(quantizers)) {
  if (statistics === undefined) throw new Error("no statistics");
  const codec = quantizer.open(quantizer.fit(statistics));
  const block = codec.encode(page);
  const restored = { ...page, data: new Float32Array(page.data.length) };
  codec.decode(block, restored);
  const energy = page.data.reduce((sum, value) => sum + value ** 2, 0);
  const error = page.data.reduce((sum, value, index) => sum + (value - (restored.data[index] ?? 0)) ** 2, 0) / energy;
  console.log(`${name.padEnd(20)} ${bitsPerValue(block, cols).toFixed(2)} bits a value, error ${(100 * error).toFixed(2)}%`);
}
