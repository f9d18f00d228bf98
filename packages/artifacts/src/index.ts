/** Ready calibrated caches, found by the fingerprint of their model. */

export { findReadyArtifact } from "./find-ready-artifact.js";
export type { ReadyArtifactQuery } from "./find-ready-artifact.js";
export { listReadyArtifacts } from "./list-ready-artifacts.js";
export type { ReadyArtifact } from "./list-ready-artifacts.js";
