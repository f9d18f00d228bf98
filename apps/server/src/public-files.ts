/** The dashboard: files that are served as they are. */

import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import type { Hono } from "hono";
import type { AppEnvironment } from "./http/server-context.js";

const types: Readonly<Record<string, string>> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".map": "application/json", ".woff2": "font/woff2" };

/** One level above both the sources and the built files. */
const folder = new URL("../public/", import.meta.url);

/** Serves `public/`: names of letters, digits, dots, dashes and underscores in folders of such names, and nothing else. */
export function publicFiles(app: Hono<AppEnvironment>): void {
  app.get("/*", async (context, next) => {
    const path = context.req.path === "/" ? "index.html" : context.req.path.slice(1);
    const type = types[extname(path)];
    if (type === undefined || !/^([\w-]+\/)*[\w-][\w.-]*$/.test(path)) return next();
    let bytes;
    try {
      bytes = await readFile(new URL(path, folder));
    } catch {
      return next(); // A file that is not there is answered as any other address that is not.
    }
    return context.body(new Uint8Array(bytes), 200, {
      "content-type": type,
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      // The page talks to this server alone.
      "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    });
  });
}
