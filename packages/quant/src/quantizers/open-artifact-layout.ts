/** The part of opening an artifact that all page quantizers share: whose it is, its sizes and its packing. */

import type { QuantizerArtifact, Side } from "@kvquant/spec";
import { corrupt } from "../corrupt.js";
import { decodeGeometry } from "../geometry.js";
import type { Geometry } from "../geometry.js";
import { headPacking } from "./head-packing.js";
import type { CodeBits, HeadPacking } from "./head-packing.js";

/** What a codec is laid out by. */
export interface ArtifactLayout {
  readonly geometry: Geometry;
  /** kvHeads * headDim. */
  readonly columns: number;
  readonly packing: HeadPacking;
}

/** Reads the layout of an artifact that quantizer `id` wrote. @throws CORRUPT_DATA for another id, bits or packing */
export function openArtifactLayout(artifact: QuantizerArtifact, id: string, side: Side): ArtifactLayout {
  const bits = checkArtifactId(artifact, id);
  const geometry = decodeGeometry(artifact);
  const packing = headPacking(side, bits, geometry.headDim);
  if (artifact.packing !== packing.id) throw corrupt(`artifact ${id}: packing`, packing.id, artifact.packing);
  return { geometry, columns: geometry.kvHeads * geometry.headDim, packing };
}

function checkArtifactId(artifact: QuantizerArtifact, id: string): CodeBits {
  if (artifact.id !== id) throw corrupt("artifact", `one of ${id}`, artifact.id);
  const { bits } = artifact;
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 5) throw corrupt(`artifact ${id}: bits`, "2, 3, 4 or 5", bits);
  return bits;
}
