/** The `.kvq` file. */

import { checkRopeConfig } from "@kvquant/rope";
import { check, checkCacheShape, checkInteger } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import { checkSensitivity } from "../calibration/layer-window.js";
import { corrupt } from "../corrupt.js";
import { decodeContainer, encodeContainer } from "./container.js";
import type { ContainerArray, ContainerKind } from "./container.js";
import type { KvqArtifact, PlanIdentity } from "./kvq-artifact.js";

const KIND: ContainerKind = { magic: "KVQA", version: 1, name: ".kvq artifact" };

/** An array of an artifact in the header: its name and its place among the container's arrays. */
type ArrayEntry = readonly [name: string, index: number];
type QuantizerHeader = Omit<QuantizerArtifact, "arrays"> & { readonly arrays: readonly ArrayEntry[] };

/** Bytes of a `.kvq` file; layout in container.ts. The same artifact always gives the same bytes. */
export function encodeArtifact(artifact: KvqArtifact): Uint8Array {
  const arrays: Float32Array[] = [];
  const header = (quantizer: QuantizerArtifact): QuantizerHeader => {
    const { id, bits, packing, stages } = quantizer;
    const entries = Object.entries(quantizer.arrays).sort(([a], [b]) => (a < b ? -1 : 1));
    return { id, bits, packing, stages, arrays: entries.map(([name, array]) => [name, arrays.push(array) - 1]) };
  };
  const { cache, model, shape, rope, sinkTokens, calibration, plan } = artifact;
  const layers = artifact.layers.map(({ key, value }) => ({ key: header(key), value: header(value) }));
  return encodeContainer(KIND, { header: { cache, model, shape, rope, sinkTokens, calibration, layers, plan }, arrays });
}

/**
 * Reads a `.kvq` file.
 * @throws CORRUPT_DATA for bytes that are cut off, changed or no artifact
 * @throws UNSUPPORTED for a newer version
 */
export function decodeArtifact(bytes: Uint8Array): KvqArtifact {
  const { header, arrays } = decodeContainer(KIND, bytes);
  try {
    return readHeader(header as KvqArtifact, arrays);
  } catch (error) {
    throw corrupt(KIND.name, "the description of an artifact", error instanceof Error ? error.message : error, error);
  }
}

function readHeader(header: KvqArtifact, arrays: readonly ContainerArray[]): KvqArtifact {
  const { cache, model, shape, rope, sinkTokens, calibration } = header;
  checkString("cache", cache);
  for (const name of ["fingerprint", "name", "architecture"] as const) checkString(`model.${name}`, model[name]);
  for (const name of ["textFingerprint", "method"] as const) checkString(`calibration.${name}`, calibration[name]);
  checkSensitivity("calibration.sensitivity", calibration.sensitivity);
  for (const name of ["sequences", "length", "tokens", "methodVersion"] as const) checkInteger(`calibration.${name}`, calibration[name], { minimum: 0 });
  checkCacheShape(shape);
  checkRopeConfig(rope);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  check(header.layers.length === shape.layers, "layers", `${shape.layers} entries`, header.layers.length);
  const layers = header.layers.map(({ key, value }) => ({
    key: readQuantizer(key as unknown as QuantizerHeader, arrays),
    value: readQuantizer(value as unknown as QuantizerHeader, arrays),
  }));
  return { cache, model, shape, rope, sinkTokens, calibration, layers, ...(header.plan !== undefined && { plan: readPlan(header.plan, layers.length) }) };
}

function readPlan({ bitsPerValue, predictedKld, measuredKld, options }: PlanIdentity, layers: number): PlanIdentity {
  for (const [name, value] of Object.entries({ bitsPerValue, predictedKld, ...(measuredKld !== undefined && { measuredKld }) })) check(Number.isFinite(value), `plan.${name}`, "a number", value);
  check(Array.isArray(options) && options.length === layers, "plan.options", `${layers} entries`, options);
  for (const { key, value } of options) {
    checkString("plan key option", key);
    checkString("plan value option", value);
  }
  return { bitsPerValue, predictedKld, ...(measuredKld !== undefined && { measuredKld }), options };
}

function readQuantizer({ id, bits, packing, stages, arrays: entries }: QuantizerHeader, arrays: readonly ContainerArray[]): QuantizerArtifact {
  checkString("quantizer id", id);
  check([1, 2, 3, 4, 5, 8].includes(bits), "quantizer bits", "1, 2, 3, 4, 5 or 8", bits);
  checkString("quantizer packing", packing);
  check(Array.isArray(stages), "quantizer stages", "a list", typeof stages);
  stages.forEach((stage) => checkString("quantizer stage", stage));
  const named: Record<string, Float32Array> = {};
  for (const [name, index] of entries) {
    const array = arrays[index];
    checkString("array name", name);
    check(array instanceof Float32Array, `array ${name}`, "floating-point numbers", index);
    Object.defineProperty(named, name, { value: array, enumerable: true, configurable: true, writable: true });
  }
  return { id, bits, packing, stages, arrays: named };
}

function checkString(what: string, value: unknown): void {
  check(typeof value === "string", what, "a string", typeof value);
}
