/** What this package holds. */

import { readFileSync } from "node:fs";

/** A `.kvq` file of this package. */
export interface ReadyArtifact {
  /** Fingerprint of the model it belongs to. */
  readonly fingerprint: string;
  /** Name of the model, such as `SmolLM2-135M-Instruct`. */
  readonly model: string;
  /** Name of the preset, such as `kvq3`. */
  readonly cache: string;
  readonly sinkTokens: number;
  /** Where it lies. */
  readonly url: URL;
}

/** The list that `tools/make-artifacts.mjs` writes beside the files. */
interface IndexEntry extends Omit<ReadyArtifact, "url"> {
  readonly file: string;
}

/** Files of this package lie beside its sources, and beside what is built from them. */
const folder = new URL("../files/", import.meta.url);

/** Every ready artifact. */
export function listReadyArtifacts(): readonly ReadyArtifact[] {
  const entries = JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as readonly IndexEntry[];
  return entries.map(({ file, ...entry }) => ({ ...entry, url: new URL(file, folder) }));
}
