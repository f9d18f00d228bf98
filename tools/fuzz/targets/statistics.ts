/** Calibration statistics as they are kept on disk. */

import { decodeStatistics, encodeStatistics, fitArtifact, parsePreset } from "@kvquant/quant";
import { makeStatistics } from "@kvquant/quant/testing";
import { obey } from "../law.js";
import { withChecksum } from "./kvq.js";

export const maximumLength = 60_000;

const model = { fingerprint: "fuzz", name: "fuzz", architecture: "none" };
const calibration = { textFingerprint: "fuzz", sequences: 1, length: 65, tokens: 65, sensitivity: "fisher", method: "test", methodVersion: 1 } as const;

/** The description without the long arrays too: most of the parser is about it. */
export function seeds(): Uint8Array[] {
  const whole = encodeStatistics(makeStatistics({ shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 }, rotaryDim: 8, tokens: 65, windows: 1 }));
  return [whole.slice(0, 2000), ...(whole.length <= maximumLength ? [whole] : [])];
}

export function fuzz(data: Uint8Array): void {
  obey(data.length, () => {
    const statistics = decodeStatistics(withChecksum(data));
    if (statistics.shape.kvHeads * statistics.shape.headDim <= 64) fitArtifact(parsePreset("kvq3"), statistics, { model, calibration });
  });
}
