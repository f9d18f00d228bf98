/** A fitted cache: everything needed to use it, with the identity of what it was fitted to. */

import type { RopeConfig } from "@kvquant/rope";
import { check, checkCacheShape, checkInteger, KvquantError } from "@kvquant/spec";
import type { CacheShape, QuantizerArtifact } from "@kvquant/spec";
import type { CalibrationStatistics } from "../calibration/layer-statistics.js";
import type { Sensitivity } from "../calibration/layer-window.js";
import type { CachePreset } from "../preset.js";
import { isHalves } from "./container.js";

/** The model an artifact belongs to. */
export interface ModelIdentity {
  readonly fingerprint: string;
  readonly name: string;
  readonly architecture: string;
}

/** How the statistics came about. */
export interface CalibrationIdentity {
  readonly textFingerprint: string;
  readonly sequences: number;
  /** Tokens of a sequence. */
  readonly length: number;
  /** Tokens in all. */
  readonly tokens: number;
  readonly sensitivity: Sensitivity;
  /** Id of the procedure, such as `kvquant/backward-pass`. */
  readonly method: string;
  readonly methodVersion: number;
}

/** Fitted quantizers of one layer. */
export interface LayerArtifact {
  readonly key: QuantizerArtifact;
  readonly value: QuantizerArtifact;
}

/** What a planner knew of the plan that an artifact was fitted to. */
export interface PlanIdentity {
  /** True bits a value, mean of keys and values of all layers. */
  readonly bitsPerValue: number;
  /** KL divergence in nats a token, no tail. */
  readonly predictedKld: number;
  /** The same as measured by a run; absent for a plan that was not verified. */
  readonly measuredKld?: number;
  /** Names of the options, one entry a layer. */
  readonly options: readonly { readonly key: string; readonly value: string }[];
}

/** Content of a `.kvq` file. */
export interface KvqArtifact {
  /** Name of the preset or plan. */
  readonly cache: string;
  readonly model: ModelIdentity;
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  /** First tokens kept exact; a cache with another count cannot use the artifact. */
  readonly sinkTokens: number;
  readonly calibration: CalibrationIdentity;
  readonly layers: readonly LayerArtifact[];
  /** Where the layers' quantizers were chosen by a planner. */
  readonly plan?: PlanIdentity;
}

/**
 * Fits every layer of a preset to statistics.
 * @throws INVALID_ARGUMENT when the preset's layers are not the model's, or a quantizer is of the wrong side
 * @throws UNSUPPORTED when statistics lack what a quantizer needs
 */
export function fitArtifact(preset: CachePreset, statistics: CalibrationStatistics, identity: { readonly model: ModelIdentity; readonly calibration: CalibrationIdentity }): KvqArtifact {
  const { shape, rope, sinkTokens, sensitivity, layers } = statistics;
  checkCacheShape(shape);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  if (preset.layers) check(preset.layers.length === shape.layers, `preset ${preset.id}: layers`, `${shape.layers} entries, one a layer`, preset.layers.length);
  check(identity.calibration.sensitivity === sensitivity, "identity.calibration.sensitivity", `that of the statistics, ${sensitivity}`, identity.calibration.sensitivity);
  return {
    cache: preset.id,
    model: identity.model,
    shape,
    rope,
    sinkTokens,
    calibration: identity.calibration,
    layers: layers.map((layer, index) => {
      const { key, value } = preset.layers?.[index] ?? preset;
      check(key.side === "key" && value.side === "value", `preset ${preset.id}: layer ${index}`, "a key and a value quantizer", `${key.side} and ${value.side}`);
      return { key: key.fit(layer), value: value.fit(layer) };
    }),
  };
}

/** What a model about to use an artifact is. */
export interface ArtifactUse {
  readonly fingerprint: string;
  readonly shape: CacheShape;
  readonly sinkTokens: number;
}

/** Throws MODEL_MISMATCH unless the artifact was fitted to this model with this number of sinks. */
export function checkArtifactModel(artifact: KvqArtifact, use: ArtifactUse): void {
  const differ = (what: string, expected: unknown, got: unknown, remedy: string): never => {
    throw new KvquantError("MODEL_MISMATCH", `artifact ${artifact.cache} of ${artifact.model.name}: ${what}: expected ${String(expected)}, got ${String(got)}; ${remedy}`);
  };
  const calibrate = "calibrate this model (kvquant calibrate) or use the artifact's model";
  if (artifact.model.fingerprint !== use.fingerprint) differ("model fingerprint", artifact.model.fingerprint, use.fingerprint, calibrate);
  for (const size of ["layers", "queryHeads", "kvHeads", "headDim"] as const) {
    if (artifact.shape[size] !== use.shape[size]) differ(size, artifact.shape[size], use.shape[size], calibrate);
  }
  if (artifact.sinkTokens !== use.sinkTokens) differ("sink tokens", artifact.sinkTokens, use.sinkTokens, `use ${artifact.sinkTokens} sink tokens or calibrate again with ${use.sinkTokens}`);
}

/** Bytes of all tables of an artifact as the file stores them: 2 a number where halves lose nothing, else 4. */
export function artifactTableBytes(artifact: KvqArtifact): number {
  return artifact.layers.reduce((bytes, { key, value }) => bytes + quantizerTableBytes(key) + quantizerTableBytes(value), 0);
}

/** The same of one layer's keys or values. */
export function quantizerTableBytes({ arrays }: QuantizerArtifact): number {
  return Object.values(arrays).reduce((bytes, array) => bytes + array.length * (isHalves(array) ? 2 : 4), 0);
}
