// Lint rules that catch mistakes; layout is left to the author.
import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

const onlyHidesTests = ["it", "test", "describe"].map((object) => ({ object, property: "only", message: "Remove .only: it hides the other tests." }));

export default defineConfig(
  { ignores: ["**/dist/", "**/node_modules/", "**/.turbo/", "**/coverage/", "tools/train-tiny/"] },
  js.configs.recommended,
  {
    rules: {
      eqeqeq: "error",
      "max-lines": ["error", { max: 400 }],
      "no-constant-condition": ["error", { checkLoops: false }],
      "no-empty": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "no-restricted-properties": ["error", ...onlyHidesTests],
    },
  },
  {
    files: ["packages/**/*.ts", "apps/**/*.ts"],
    ignores: ["**/tsup.config.ts"],
    extends: [tseslint.configs.strict],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "separate-type-imports" }],
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      // An index read that the loop bound proves is written `values[index]!`.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/prefer-readonly": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ["apps/server/public/**/*.js"],
    languageOptions: {
      globals: Object.fromEntries(
        ["AbortController", "AbortSignal", "Option", "ResizeObserver", "TextDecoderStream", "addEventListener", "clearInterval", "console", "crypto", "document", "fetch", "getComputedStyle", "localStorage", "matchMedia", "performance", "sessionStorage", "setInterval"].map((name) => [name, "readonly"]),
      ),
    },
    rules: { "no-unused-vars": ["error", { argsIgnorePattern: "^_" }] },
  },
  { files: ["**/*.test.ts", "**/*.test.mjs"], rules: { "max-lines": ["error", { max: 600 }] } },
  {
    files: ["**/*.mjs", "**/tsup.config.ts", "vitest.config.ts"],
    extends: [tseslint.configs.base],
    languageOptions: {
      globals: { AbortController: "readonly", Blob: "readonly", fetch: "readonly", performance: "readonly", process: "readonly", console: "readonly", Buffer: "readonly", URL: "readonly", setTimeout: "readonly", setInterval: "readonly", clearInterval: "readonly", NodeJS: "readonly" },
    },
    rules: { "no-unused-vars": ["error", { argsIgnorePattern: "^_" }] },
  },
);
