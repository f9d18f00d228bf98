// One file of a target and everything it tests, as it is and instrumented.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { root } from "../setup.mjs";
import { instrument } from "./instrument.mjs";

/**
 * @param {string} entry @param {string} folder where the two files go
 * @returns {Promise<{ plain: string, instrumented: string, counters: number, words: string[] }>} `words`: short texts in the project's own sources
 */
export async function bundleTarget(entry, folder) {
  const plain = join(folder, "target.mjs");
  const instrumented = join(folder, "instrumented.mjs");
  /** @type {Set<string>} */
  const words = new Set();
  await build({
    entryPoints: [entry],
    outfile: plain,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "error",
    tsconfig: join(root, "tsconfig.json"),
    // Libraries in CommonJS want a `require`.
    banner: { js: 'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);' },
    plugins: [leaveOutside, readAtOnce, readSources(words)],
  });
  const { text, counters } = instrument(readFileSync(plain, "utf8"));
  writeFileSync(instrumented, text);
  return { plain, instrumented, counters, words: [...words] };
}

/** Packages that are native or parse nothing are not bundled; they are found as their importer finds them. @type {import("esbuild").Plugin} */
const leaveOutside = {
  name: "leave-outside",
  setup({ onResolve }) {
    onResolve({ filter: /^(onnxruntime-node|lmdb|node-gyp-build|iovalkey|prom-client|@hono\/node-server|fast-check|vitest)$/ }, ({ path, importer }) => ({ path: createRequire(importer).resolve(path), external: true }));
  },
};

/** See file-blob.ts. @type {import("esbuild").Plugin} */
const readAtOnce = {
  name: "read-at-once",
  setup({ onResolve }) {
    onResolve({ filter: /\/FileBlob-\w+\.mjs$/ }, () => ({ path: join(root, "tools/fuzz/file-blob.ts") }));
  },
};

/**
 * `import.meta` of each source stays that of the source, wherever the bundle lies; its texts are collected.
 * @param {Set<string>} words
 * @returns {import("esbuild").Plugin}
 */
function readSources(words) {
  return {
    name: "read-sources",
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (path.includes("node_modules")) return undefined;
        const text = readFileSync(path, "utf8");
        for (const [, word = ""] of text.matchAll(/"([^"\\\n]{2,40})"/g)) if (!/^(node:|\.|@kvquant)/.test(word)) words.add(word);
        return { contents: text.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href)).replaceAll("import.meta.dirname", JSON.stringify(dirname(path))), loader: "ts" };
      });
    },
  };
}
