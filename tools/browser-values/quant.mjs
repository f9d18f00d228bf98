// Computed in Node and in chromium: every preset fitted, and a page through it.
import { createStatisticsCollector, decodeArtifact, encodeArtifact, fitArtifact, openArtifact, parsePreset, presetNames } from "@kvquant/quant";

const shape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 64 };
const rope = /** @type {const} */ ({ headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "none" } });

/** Numbers that do not depend on anybody's sine. @param {number} rows @param {number} seed */
function matrix(rows, seed) {
  let state = seed;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
  return { data: Float32Array.from({ length: rows * 64 }, (_, index) => next() * next() * (1 + (index % 64 === 7 ? 8 : 0))), rows, cols: 64 };
}

/** Enough for pages that are held out of the statistics, which some presets are fitted to. */
const tokens = 1024;

export default function compute() {
  const collector = createStatisticsCollector({ shape, rope, sinkTokens: 1, sensitivity: "fisher" });
  collector.add(0, { k: matrix(tokens, 1), v: matrix(tokens, 2), keyGradients: matrix(tokens, 3), valueGradients: matrix(tokens, 4) });
  const statistics = collector.finish();
  const model = { fingerprint: "example", name: "example", architecture: "llama" };
  const calibration = /** @type {const} */ ({ textFingerprint: "example", sequences: 1, length: tokens, tokens, sensitivity: "fisher", method: "example", methodVersion: 1 });
  const page = matrix(64, 5);
  return Object.fromEntries(
    presetNames.map((name) => {
      const [codecs] = openArtifact(decodeArtifact(encodeArtifact(fitArtifact(parsePreset(name), statistics, { model, calibration }))));
      if (codecs === undefined) throw new Error("an artifact of one layer has codecs for it");
      const sides = [codecs.key, codecs.value].map((codec) => {
        const block = codec.encode(page);
        const restored = { ...page, data: new Float32Array(page.data.length) };
        codec.decode(block, restored);
        return { bytes: block.bytes, restored: restored.data };
      });
      return [name, sides];
    }),
  );
}
