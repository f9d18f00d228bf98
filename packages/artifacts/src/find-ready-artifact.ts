/** The ready artifact of a model. */

import { readFile } from "node:fs/promises";
import { decodeArtifact } from "@kvquant/quant";
import type { KvqArtifact } from "@kvquant/quant";
import { listReadyArtifacts } from "./list-ready-artifacts.js";

/** What is looked for. */
export interface ReadyArtifactQuery {
  /** The model's fingerprint (`model.fingerprint` of @kvquant/model). */
  readonly fingerprint: string;
  /** Name of the preset, such as `kvq3`. */
  readonly cache: string;
  /** First tokens kept exact, default 1. */
  readonly sinkTokens?: number;
}

/**
 * The artifact of a model and preset, or `undefined` when this package has none.
 * @throws CORRUPT_DATA when the file is damaged
 */
export async function findReadyArtifact({ fingerprint, cache, sinkTokens = 1 }: ReadyArtifactQuery): Promise<KvqArtifact | undefined> {
  const found = listReadyArtifacts().find((ready) => ready.fingerprint === fingerprint && ready.cache === cache && ready.sinkTokens === sinkTokens);
  return found === undefined ? undefined : decodeArtifact(await readFile(found.url));
}
