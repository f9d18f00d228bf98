// Tests run on the sources of every package, so that none needs a build first.
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: [
      { find: "@kvquant/server", replacement: `${import.meta.dirname}/apps/server/src/index.ts` },
      { find: /^@kvquant\/([a-z]+)\/([a-z]+)$/, replacement: `${import.meta.dirname}/packages/$1/src/$2/index.ts` },
      { find: /^@kvquant\/([a-z]+)$/, replacement: `${import.meta.dirname}/packages/$1/src/index.ts` },
    ],
  },
  test: {
    include: ["packages/*/src/**/*.test.ts", "apps/*/src/**/*.test.ts", "tools/*.test.mjs"],
    globalSetup: ["tools/vitest-temporary-folder.mjs"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
