// Runs an installed package in chromium: bundled for browsers, where a Node builtin is an error, it must print and compute what it does in Node.
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { runCommand } from "./run-command.mjs";
import { root } from "./setup.mjs";
import { findProgram } from "./test-programs.mjs";

/** Packages that promise to run in browsers; tools/browser-values has what each computes there. */
export const browserPackages = ["spec", "packing", "codebook", "sparse", "rope", "quant"];

/** Sines of two versions of V8 may differ in their last bit. */
const RELATIVE_TOLERANCE = 1e-6;

/** Prints and values as JSON, in Node and in the browser alike. */
const entry = `
import compute from "./browser-values.mjs";
const printed = [];
console.log = (...parts) => void printed.push(parts);
await import("./example.mjs");
export default JSON.stringify({ printed, values: compute() }, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value));
`;

/** The browser and its end, or undefined on a machine that has none. */
export async function openBrowser() {
  const program = findProgram("chromium");
  if (program === undefined) return undefined;
  // Installed by the set-up, which runs after this file is loaded.
  const { chromium } = await import("playwright-core");
  // Its sandbox wants rights that containers do not give; the pages are ours.
  return chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}

/**
 * The folder has the package installed, and its README example as example.mjs.
 * @param {import("playwright-core").Browser} browser @param {{ name: string, folder: string }} subject
 * @returns {Promise<{ problem: string | undefined, fact?: string }>}
 */
export async function checkInBrowser(browser, { name, folder }) {
  copyFileSync(join(root, "tools", "browser-values", `${name}.mjs`), join(folder, "browser-values.mjs"));
  const file = join(folder, "browser-entry.mjs");
  writeFileSync(file, entry);
  const { build } = await import("esbuild");
  const page = await browser.newPage();
  try {
    const { outputFiles } = await build({ entryPoints: [file], bundle: true, platform: "browser", format: "esm", minify: true, write: false, logLevel: "silent" });
    const code = /** @type {{ text: string }} */ (outputFiles[0]).text;
    const inBrowser = JSON.parse(await page.evaluate(async (source) => (await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })))).default, code));
    const node = await runCommand(process.execPath, ["--input-type=module", "--eval", 'import result from "./browser-entry.mjs"; process.stdout.write(result);'], { cwd: folder });
    if (node.code !== 0) return { problem: `in Node: ${node.output}` };
    const inNode = JSON.parse(node.output);
    if (inNode.printed.length === 0 || Object.keys(inNode.values).length === 0) return { problem: "nothing was printed or computed" };
    return { problem: difference(inNode, inBrowser, "result"), fact: `in chromium ${browser.version()}, bundle of ${code.length} bytes` };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  } finally {
    await page.close();
  }
}

/** The first place where two results differ. @param {any} expected @param {any} got @param {string} path @returns {string | undefined} */
function difference(expected, got, path) {
  if (typeof expected === "number" && typeof got === "number") {
    return Math.abs(got - expected) <= RELATIVE_TOLERANCE * Math.abs(expected) ? undefined : `${path}: Node has ${expected}, the browser ${got}`;
  }
  if (typeof expected !== "object" || expected === null || typeof got !== "object" || got === null) {
    return isDeepStrictEqual(expected, got) ? undefined : `${path}: Node has ${JSON.stringify(expected)}, the browser ${JSON.stringify(got)}`;
  }
  const keys = Object.keys(expected);
  if (!isDeepStrictEqual(keys, Object.keys(got))) return `${path}: Node has ${keys.length} entries, the browser ${Object.keys(got).length}`;
  for (const key of keys) {
    const found = difference(expected[key], got[key], `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
