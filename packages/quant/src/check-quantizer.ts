/** Quantizers from outside: what they must be, and errors of theirs in words. */

import { check, checkInteger, KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import type { Quantizer } from "./quantizer.js";

const WIDTHS: readonly unknown[] = [1, 2, 3, 4, 5, 8];

/**
 * `given` as a quantizer, if it is one.
 * @throws UNSUPPORTED for another version of the contract
 * @throws INVALID_ARGUMENT for anything else that is wrong with it
 */
export function checkQuantizer(what: string, given: unknown): Quantizer {
  check(typeof given === "object" && given !== null, what, "a quantizer, { specVersion, id, side, frame, fit, open }", given === null ? "null" : typeof given);
  const { specVersion, id, side, frame, fit, open } = given as Partial<Record<keyof Quantizer, unknown>>;
  if (typeof specVersion === "number" && specVersion !== 1) {
    throw new KvquantError("UNSUPPORTED", `${what}: specVersion: expected 1, the version of the quantizer contract that this kvquant knows, got ${specVersion}`);
  }
  check(specVersion === 1, `${what}: specVersion`, "1", specVersion);
  check(typeof id === "string" && /^[^\s/,]+\/[^\s,]+$/.test(id), `${what}: id`, "a name space and a name, such as my/keys", id);
  check(side === "key" || side === "value", `${what}: side`, "key or value", side);
  check(frame === "pre-rope" || frame === "post-rope", `${what}: frame`, "pre-rope or post-rope", frame);
  check(typeof fit === "function", `${what}: fit`, "a function", typeof fit);
  check(typeof open === "function", `${what}: open`, "a function", typeof open);
  return given as Quantizer;
}

/**
 * The quantizer, watched: what it throws besides KvquantError becomes one that names it and the step, and what it fits is checked to be plain data that a
 * file can hold.
 */
export function guardQuantizer(quantizer: Quantizer): Quantizer {
  const { specVersion, id, side, frame } = quantizer;
  return {
    specVersion,
    id,
    side,
    frame,
    fit: (statistics) => checkFitted(id, attempt(id, "fit", () => quantizer.fit(statistics))),
    open(artifact) {
      const codec = attempt(id, "open", () => quantizer.open(artifact));
      check(typeof codec?.encode === "function" && typeof codec.decode === "function", `${id}: open`, "a codec with encode and decode", typeof codec);
      return {
        encode(x) {
          const block = attempt(id, "encode", () => codec.encode(x));
          check(block?.bytes instanceof Uint8Array && block.tokens === x.rows, `${id}: encode`, `a block of ${x.rows} tokens with its bytes in a Uint8Array`, block?.tokens);
          for (const count of ["saturated", "clamped"] as const) checkInteger(`${id}: encode: ${count}`, block[count], { minimum: 0 });
          return block;
        },
        decode: (block, out) => attempt(id, "decode", () => codec.decode(block, out)),
      };
    },
  };
}

function attempt<Result>(id: string, step: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (KvquantError.isInstance(error)) throw error;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new KvquantError("INVALID_ARGUMENT", `${id}: ${step}: expected a result, got ${detail}`, { cause: error });
  }
}

function checkFitted(id: string, artifact: QuantizerArtifact): QuantizerArtifact {
  const what = `${id}: fit`;
  check(typeof artifact === "object" && artifact !== null, what, "an artifact", typeof artifact);
  check(artifact.id === id, `${what}: id`, id, artifact.id);
  check(WIDTHS.includes(artifact.bits), `${what}: bits`, `one of ${WIDTHS.join(", ")}`, artifact.bits);
  check(typeof artifact.packing === "string", `${what}: packing`, "a string", typeof artifact.packing);
  check(Array.isArray(artifact.stages) && artifact.stages.every((stage) => typeof stage === "string"), `${what}: stages`, "a list of strings", artifact.stages);
  check(typeof artifact.arrays === "object" && artifact.arrays !== null, `${what}: arrays`, "an object of Float32Arrays", typeof artifact.arrays);
  for (const [name, array] of Object.entries(artifact.arrays)) check(array instanceof Float32Array, `${what}: array ${name}`, "a Float32Array", Object.prototype.toString.call(array));
  return artifact;
}
