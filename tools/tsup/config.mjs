// The one tsup configuration every package shares: ESM, types, source maps, dependencies left external.
import { defineConfig } from "tsup";

/** @param {Record<string, string>} entry names of the published entry points and their sources */
export function packageConfig(entry = { index: "src/index.ts" }) {
  return defineConfig({
    entry,
    format: "esm",
    target: "node20",
    platform: "node",
    sourcemap: true,
    clean: true,
    dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
  });
}
