// The tests of one package alone: what other packages notice does not count for it.
import { mergeConfig } from "vitest/config";
import shared from "../../vitest.config.js";

const name = process.env["KVQUANT_MUTATED_PACKAGE"];
if (name === undefined) throw new Error("run `npm run mutation -- <package>`, which sets KVQUANT_MUTATED_PACKAGE");

const config = mergeConfig(shared, { test: { maxWorkers: 1, setupFiles: [`${import.meta.dirname}/no-shrinking.mjs`] } });
config.test.include = [`packages/${name}/src/**/*.test.ts`];
export default config;
