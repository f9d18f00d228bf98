/**
 * mean-residual: two stages. First the mean of each channel over the page, because channels of keys before RoPE stay on one side of zero; then what is
 * left of each head, rotated so that no channel stands out, on the best levels for normal numbers with one number a token and head.
 */

const BITS = 3;

/** @param {import("@kvquant/quant").QuantizerKit} kit */
export default function make({ pageQuantizer, linear, lloydMaxNormal, midpoints, nearestCode, applyHadamard, hadamardBlock, storeHalf, loadHalf }) {
  const packing = linear(BITS);
  const levels = lloydMaxNormal(BITS);
  const middles = midpoints(levels);

  /** @param {"key" | "value"} side */
  const side = (side) =>
    pageQuantizer({
      id: `mean-residual/${side}s`,
      side,
      frame: "pre-rope",
      fit: () => ({ bits: BITS, packing: packing.id, stages: ["mean:channel", "normalize:rms", "hadamard"], arrays: {} }),
      open(artifact, { kvHeads, headDim }) {
        const columns = kvHeads * headDim;
        // A page is its codes, a mean for each channel, and a root mean square for each token and head.
        const meansAt = (tokens) => packing.byteLength(tokens * columns);
        const scalesAt = (tokens) => meansAt(tokens) + 2 * columns;
        return {
          byteLength: (tokens) => scalesAt(tokens) + 2 * tokens * kvHeads,
          write(x, tokens, bytes) {
            for (let column = 0; column < columns; column++) {
              let sum = 0;
              for (let i = column; i < x.length; i += columns) sum += x[i];
              const mean = storeHalf(bytes, meansAt(tokens) + 2 * column, sum / tokens);
              for (let i = column; i < x.length; i += columns) x[i] -= mean;
            }
            for (let head = 0; head < tokens * kvHeads; head++) {
              const rest = x.subarray(head * headDim, (head + 1) * headDim);
              const square = rest.reduce((sum, value) => sum + value * value, 0);
              const scale = storeHalf(bytes, scalesAt(tokens) + 2 * head, Math.sqrt(square / headDim));
              for (let i = 0; i < headDim; i++) rest[i] = scale === 0 ? 0 : rest[i] / scale;
            }
            applyHadamard(x, hadamardBlock(headDim));
            packing.pack(Uint8Array.from(x, (value) => nearestCode(middles, value)), bytes.subarray(0, meansAt(tokens)));
          },
          read(bytes, tokens, out) {
            packing.unpack(bytes.subarray(0, meansAt(tokens)), out.length).forEach((code, i) => (out[i] = levels[code]));
            applyHadamard(out, hadamardBlock(headDim));
            for (let i = 0; i < out.length; i++) {
              const scale = loadHalf(bytes, scalesAt(tokens) + 2 * Math.floor(i / headDim));
              out[i] = out[i] * scale + loadHalf(bytes, meansAt(tokens) + 2 * (i % columns));
            }
          },
        };
      },
    });

  return { id: "mean-residual", key: side("key"), value: side("value") };
}
