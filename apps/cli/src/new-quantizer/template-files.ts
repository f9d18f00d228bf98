/** The files of a new quantizer. */

/** A file by its path in the new folder. */
export interface TemplateFile {
  readonly path: string;
  readonly text: string;
}

/** Files of a folder named `name`: a working quantizer of keys and values, a test, package.json and README. */
export function templateFiles(name: string): TemplateFile[] {
  return [
    { path: "quantizer.mjs", text: quantizerText(name) },
    { path: "quantizer.test.mjs", text: testText(name) },
    { path: "package.json", text: `${JSON.stringify({ name, private: true, type: "module", scripts: { test: "node --test" } }, undefined, 2)}\n` },
    { path: "README.md", text: readmeText(name) },
  ];
}

function quantizerText(name: string): string {
  return `/**
 * ${name}: signed integers of a few bits with the largest magnitude of each token and head, as a start. Change \`write\` and \`read\` together,
 * keep \`byteLength\` true, and run \`npm test\`.
 */

const BITS = 4;

/** @param {import("@kvquant/quant").QuantizerKit} kit what a quantizer is made with; see the documentation of @kvquant/quant */
export default function make({ pageQuantizer, linear, storeHalf, loadHalf }) {
  const packing = linear(BITS);
  const middle = 2 ** (BITS - 1);

  /** @param {"key" | "value"} side */
  const side = (side) =>
    pageQuantizer({
      id: \`${name}/\${side}s\`, // names the format: change it when bytes change their meaning
      side,
      frame: side === "key" ? "post-rope" : "pre-rope", // keys may also be taken before RoPE, where channels are steadier
      // What is learned from calibration statistics goes into \`arrays\` (Float32Array by name); nothing here.
      fit: () => ({ bits: BITS, packing: packing.id, stages: ["absmax:token"], arrays: {} }),
      open(artifact, { kvHeads, headDim }) {
        const columns = kvHeads * headDim;
        const codeBytes = (/** @type {number} */ tokens) => packing.byteLength(tokens * columns);
        return {
          // Everything stored counts: packed codes, then one fp16 number a token and head.
          byteLength: (tokens) => codeBytes(tokens) + 2 * tokens * kvHeads,
          // x: tokens rows of kvHeads * headDim numbers, yours to change; bytes: zeros of byteLength(tokens).
          write(x, tokens, bytes) {
            const codes = new Uint8Array(x.length);
            for (let head = 0; head < tokens * kvHeads; head++) {
              const start = head * headDim;
              let largest = 0;
              for (let i = start; i < start + headDim; i++) largest = Math.max(largest, Math.abs(x[i]));
              const scale = storeHalf(bytes, codeBytes(tokens) + 2 * head, largest / (middle - 1)); // as read() will see it
              for (let i = start; i < start + headDim; i++) {
                const code = scale === 0 ? 0 : Math.round(x[i] / scale);
                codes[i] = middle + Math.max(1 - middle, Math.min(middle - 1, code));
              }
            }
            packing.pack(codes, bytes.subarray(0, codeBytes(tokens)));
          },
          read(bytes, tokens, out) {
            const codes = packing.unpack(bytes.subarray(0, codeBytes(tokens)), tokens * columns);
            for (let i = 0; i < codes.length; i++) {
              out[i] = (codes[i] - middle) * loadHalf(bytes, codeBytes(tokens) + 2 * Math.floor(i / headDim));
            }
          },
        };
      },
    });

  return { id: "${name}", key: side("key"), value: side("value") };
}
`;
}

function testText(name: string): string {
  return `/** Runs the conformance suite of @kvquant/quant: it says in words which law a quantizer breaks. */

import test from "node:test";
import { quantizerKit } from "@kvquant/quant";
import { assertLaws, makePage, makeStatistics } from "@kvquant/quant/testing";
import make from "./quantizer.mjs";

for (const headDim of [64, 128]) {
  const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim };
  const [statistics] = makeStatistics({ shape }).layers;
  const page = makePage(shape);
  const { key, value } = make(quantizerKit);

  // nmse: largest relative error that you accept, on keys one channel in eight of which lies far from zero.
  test(\`keys of ${name} keep every law on head dim \${headDim}\`, () => assertLaws({ quantizer: key, statistics, page: page.k, nmse: 0.5 }));
  test(\`values of ${name} keep every law on head dim \${headDim}\`, () => assertLaws({ quantizer: value, statistics, page: page.v, nmse: 0.1 }));
}
`;
}

function readmeText(name: string): string {
  return `# ${name}

A quantizer of key/value caches for KVQuant, in \`quantizer.mjs\`.

\`\`\`sh
npm test                                                                  # the laws that every quantizer keeps
kvquant eval tiny --quantizer ./quantizer.mjs --caches fp16,${name},int4-token,q4_0+rot --windows 2 --tail 0
kvquant eval smollm2 --quantizer ./quantizer.mjs --caches fp16,${name},kvq3 --data text.txt
kvquant calibrate smollm2 --quantizer ./quantizer.mjs --cache ${name} -o ${name}.kvq
kvquant generate smollm2 --quantizer ./quantizer.mjs --cache ${name}.kvq --prompt "Once upon a time"
\`\`\`

\`npm test\` finds @kvquant/quant through a link in \`node_modules\`, made by \`kvquant new-quantizer\` to the copy that kvquant itself runs on; \`kvquant\` needs none, it hands the kit to the function that
\`quantizer.mjs\` exports. Attention decodes pages of quantizers that are not kvquant's own before it reads them: quality and bits are measured as they are, speed is not what a kernel would reach.
`;
}
