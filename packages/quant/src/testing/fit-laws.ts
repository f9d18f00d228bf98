/** Laws of fitting: what a quantizer learns is plain data, and all of it lies in the artifact. */

import type { QuantizerArtifact } from "@kvquant/spec";
import { crc32 } from "../artifact/crc32.js";
import { decodeArtifact, encodeArtifact } from "../artifact/kvq-file.js";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { makeStatistics } from "./fixture.js";
import type { LawSubject, QuantizerLaw } from "./law.js";
import { codeOf, decodeBlock, openSubject, sameBytes, sameNumbers } from "./law-tools.js";

/** Laws of `Quantizer.fit` and of artifacts. The one about statistics comes before any other that fits: a change may show the first time only. */
export const fitLaws: readonly QuantizerLaw[] = [
  { title: "is a plain object with a version, a name space of its own, a side and a frame", check: describesItself },
  { title: "leaves the calibration statistics alone", check: keepsStatistics },
  { title: "fits to the same artifact every time, plain data of finite numbers", check: fitsDeterministically },
  { title: "keeps what it learned in the artifact, not in itself", check: remembersNothing },
  { title: "works the same after its artifact went through a .kvq file", check: survivesSerialisation },
  { title: "refuses another quantizer's artifact with CORRUPT_DATA", check: refusesForeignArtifact },
];

const WIDTHS: readonly number[] = [1, 2, 3, 4, 5, 8];

function describesItself({ quantizer }: LawSubject): string | undefined {
  if (quantizer.specVersion !== 1) return `specVersion is ${String(quantizer.specVersion)}, expected 1`;
  if (!/^[^\s/]+\/\S+$/.test(quantizer.id)) return `id is "${quantizer.id}", expected a name space and a name, such as my/keys`;
  if (quantizer.side !== "key" && quantizer.side !== "value") return `side is ${String(quantizer.side)}, expected key or value`;
  if (quantizer.frame !== "pre-rope" && quantizer.frame !== "post-rope") return `frame is ${String(quantizer.frame)}, expected pre-rope or post-rope`;
  if (quantizer.side === "value" && quantizer.frame !== "pre-rope") return "frame is post-rope, but values have no position: expected pre-rope";
  return undefined;
}

function fitsDeterministically({ quantizer, statistics }: LawSubject): string | undefined {
  const once = quantizer.fit(statistics);
  const again = quantizer.fit(statistics);
  if (once.id !== quantizer.id) return `artifact id ${once.id}, expected ${quantizer.id}`;
  if (!WIDTHS.includes(once.bits)) return `artifact bits ${String(once.bits)}, expected one of ${WIDTHS.join(", ")}`;
  if (typeof once.packing !== "string" || !Array.isArray(once.stages) || !once.stages.every((stage) => typeof stage === "string")) return "packing and stages of the artifact must be words";
  for (const [name, array] of Object.entries(once.arrays)) {
    if (!(array instanceof Float32Array)) return `array ${name} is no Float32Array`;
    const other = again.arrays[name];
    if (other === undefined || !sameNumbers(array, other)) return `array ${name} differs`;
    if (!array.every(Number.isFinite)) return `array ${name} holds a number that is not finite`;
  }
  return undefined;
}

function keepsStatistics({ quantizer, statistics }: LawSubject): string | undefined {
  const before = checksums(statistics);
  quantizer.fit(statistics);
  const after = checksums(statistics);
  const changed = [...before].find(([path, checksum]) => after.get(path) !== checksum);
  return changed === undefined ? undefined : `fit changed statistics${changed[0]}`;
}

/** Checksums of all arrays of an object, by path. */
function checksums(value: unknown, path = "", found = new Map<string, number>()): Map<string, number> {
  if (ArrayBuffer.isView(value)) found.set(path, crc32(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
  else if (typeof value === "object" && value !== null) for (const [name, part] of Object.entries(value)) checksums(part, `${path}.${name}`, found);
  return found;
}

/** Fits to other data in between: an artifact must still mean what it meant. */
function remembersNothing({ quantizer, statistics, page }: LawSubject): string | undefined {
  const { artifact, codec } = openSubject({ quantizer, statistics });
  const block = codec.encode(page);
  const numbers = decodeBlock(codec, block, page.cols);
  quantizer.fit(otherStatistics(statistics));
  const reopened = quantizer.open(artifact);
  if (!sameBytes(reopened.encode(page).bytes, block.bytes)) return "an artifact encodes differently once the quantizer was fitted to other data";
  if (!sameNumbers(decodeBlock(reopened, block, page.cols), numbers)) return "an artifact decodes differently once the quantizer was fitted to other data";
  return undefined;
}

const others = new Map<string, LayerStatistics>();

/** Statistics of the same sizes and sensitivity, made once. */
function otherStatistics({ geometry: { kvHeads, headDim, rotaryDim }, sensitivity }: LayerStatistics): LayerStatistics {
  const key = `${kvHeads} ${headDim} ${rotaryDim} ${sensitivity}`;
  let other = others.get(key);
  if (other === undefined) {
    const collected = makeStatistics({ shape: { layers: 1, queryHeads: kvHeads, kvHeads, headDim }, rotaryDim, sensitivity, windows: 1, tokens: 600 });
    others.set(key, (other = collected.layers[0]!));
  }
  return other;
}

function survivesSerialisation(subject: LawSubject): string | undefined {
  const { artifact, codec } = openSubject(subject);
  const { page } = subject;
  const reopened = subject.quantizer.open(throughFile(artifact, subject));
  const block = codec.encode(page);
  if (!sameBytes(block.bytes, reopened.encode(page).bytes)) return "bytes differ";
  return sameNumbers(decodeBlock(codec, block, page.cols), decodeBlock(reopened, block, page.cols)) ? undefined : "decoded numbers differ";
}

/** The artifact as it comes back from a file of a model with one layer. */
function throughFile(artifact: QuantizerArtifact, { statistics: { geometry, sensitivity } }: LawSubject): QuantizerArtifact {
  const { kvHeads, headDim, rotaryDim } = geometry;
  const file = encodeArtifact({
    cache: artifact.id,
    model: { fingerprint: "none", name: "none", architecture: "none" },
    shape: { layers: 1, queryHeads: kvHeads, kvHeads, headDim },
    rope: { headDim, rotaryDim, base: 10_000, scaling: { type: "none" } },
    sinkTokens: 1,
    calibration: { textFingerprint: "none", sequences: 1, length: 1, tokens: 1, sensitivity, method: "kvquant/laws", methodVersion: 1 },
    layers: [{ key: artifact, value: artifact }],
  });
  return decodeArtifact(file).layers[0]!.key;
}

function refusesForeignArtifact(subject: LawSubject): string | undefined {
  const { artifact } = openSubject(subject);
  const code = codeOf(() => subject.quantizer.open({ ...artifact, id: "somebody/else" }));
  return code === "CORRUPT_DATA" ? undefined : `an artifact of somebody/else gave ${code}`;
}
