/** Fitted artifacts without a model. */

import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { fitArtifact } from "../artifact/kvq-artifact.js";
import { parsePreset } from "../preset.js";
import type { KvqArtifact } from "../artifact/kvq-artifact.js";
import { makeStatistics } from "./fixture.js";

/** An artifact of one preset fitted to synthetic statistics of a one-layer shape. */
export function randomArtifact(preset: string, shape: CacheShape, rope: RopeConfig): KvqArtifact {
  const statistics = makeStatistics({ shape, rotaryDim: rope.rotaryDim, tokens: 257, windows: 1 });
  const model = { fingerprint: "random", name: "random", architecture: "none" };
  const calibration = { textFingerprint: "random", sequences: 1, length: 257, tokens: 257, sensitivity: "fisher", method: "test", methodVersion: 1 } as const;
  return fitArtifact(parsePreset(preset), statistics, { model, calibration });
}
