// The tests of one package alone: what other packages notice does not count for it.
import { mergeConfig } from "vitest/config";
import shared from "../../vitest.config.js";

const tests = process.env["KVQUANT_MUTATION_TESTS"];
if (tests === undefined) throw new Error("run `npm run mutation -- <package>`, which sets KVQUANT_MUTATION_TESTS");

const config = mergeConfig(shared, { test: { maxWorkers: 1, setupFiles: [`${import.meta.dirname}/no-shrinking.mjs`] } });
config.test.include = JSON.parse(tests) as string[];
export default config;
