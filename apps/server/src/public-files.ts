/** The dashboard: files that are served as they are. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { extname } from "node:path";
import type { Hono } from "hono";
import type { AppEnvironment } from "./http/server-context.js";

const types: Readonly<Record<string, string>> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".map": "application/json", ".woff2": "font/woff2" };

/** One level above both the sources and the built files. */
const folder = new URL("../public/", import.meta.url);

/** The plotting library, from the installed package and not from a copy. */
const require = createRequire(import.meta.url);
const vendored: Readonly<Record<string, string>> = { "vendor/uplot.js": "uplot/dist/uPlot.esm.js", "vendor/uplot.css": "uplot/dist/uPlot.min.css" };

const headers = {
  "cache-control": "no-cache",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  // The page talks to this server alone and runs nothing that is not one of these files.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
};

/** Serves `public/`: names of letters, digits, dots, dashes and underscores in folders of such names, and nothing else. */
export function publicFiles(app: Hono<AppEnvironment>): void {
  app.get("/*", async (context, next) => {
    const path = context.req.path === "/" ? "index.html" : context.req.path.slice(1);
    const type = types[extname(path)];
    if (type === undefined || !/^([\w-]+\/)*[\w-][\w.-]*$/.test(path)) return next();
    const library = vendored[path];
    let bytes;
    try {
      bytes = await readFile(library === undefined ? new URL(path, folder) : require.resolve(library));
    } catch {
      return next(); // A file that is not there is answered as any other address that is not.
    }
    return context.body(new Uint8Array(bytes), 200, { ...headers, "content-type": type });
  });
}
