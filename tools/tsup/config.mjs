// The one tsup configuration every package shares: ESM, source maps, dependencies left external. Declarations take most of the time, so that they are a task of their own: `build` leaves them out, `types` writes them alone.
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
    dts: true,
  });
}
