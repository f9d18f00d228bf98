/// <reference lib="dom" />
/** The whole site is built as `npm run docs` builds it, and looked at in a browser. */

import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { Server } from "node:http";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

const docsFolder = join(import.meta.dirname, "..");
const siteFolder = join(docsFolder, "dist", "site");

const program = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable"].find((path) => existsSync(path));
/** Where to leave pictures to look at; none are made without it. */
const pictures = process.env["KVQUANT_SCREENSHOTS"];
const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json", ".png": "image/png" };

/** What the build says. */
let told: string;

beforeAll(async () => {
  // Vitest's NODE_ENV would make VitePress build for development.
  const env = { ...process.env, NODE_ENV: undefined };
  told = (await promisify(execFile)(process.execPath, [join(docsFolder, "scripts", "docs.mjs"), "--skip-setup"], { env })).stdout;
}, 300_000);

it("builds a page for every text and package, and all links lead somewhere", () => {
  const [, pages, links] = /(\d+) pages, (\d+) links, all of them lead somewhere/.exec(told) ?? [];
  expect(Number(pages)).toBeGreaterThan(70);
  expect(Number(links)).toBeGreaterThan(5000);
  for (const page of ["index", "comparison", "reference/format", "how-to/planner", "packages/quant", "api/@kvquant/quant", "api/@kvquant/engine/lmdb"]) {
    expect(existsSync(join(siteFolder, `${page}.html`)), page).toBe(true);
  }
});

it("shows measured figures as the data file has them", () => {
  const text = readFileSync(join(siteFolder, "comparison.html"), "utf8").replaceAll(/<[^>]+>/g, " ").replaceAll(/\s+/g, " ");
  const measurements = JSON.parse(readFileSync(join(docsFolder, "data", "measurements.json"), "utf8")) as { tables: { rows: { cache: string; kldMean: number }[] }[] };
  for (const { cache, kldMean } of measurements.tables[0]!.rows) {
    const row = text.indexOf(` ${cache} `);
    expect(row, cache).toBeGreaterThan(0);
    expect(text.slice(row, row + 120), cache).toContain(kldMean === 0 ? " 0 " : kldMean.toFixed(4));
  }
});

it("keeps every figure small", () => {
  for (const name of readdirSync(join(docsFolder, "figures"))) expect(statSync(join(docsFolder, "figures", name)).size, name).toBeLessThan(150_000);
});

describe.skipIf(program === undefined)("in a browser", () => {
  let browser: Browser;
  let server: Server;
  let url: string;
  let page: Page;
  /** Console errors, page errors, failed and foreign requests of a test. */
  let complaints: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      const path = join(siteFolder, decodeURIComponent(new URL(request.url ?? "/", "http://site").pathname));
      const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "index.html") : path;
      if (!existsSync(file)) response.writeHead(404).end();
      else response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" }).end(readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: program!, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  });
  afterAll(async () => {
    await browser.close();
    await new Promise((resolve) => server.close(resolve));
  });
  afterEach(async () => {
    await page.context().close();
  });

  async function open(path: string, options: { readonly scheme?: "light" | "dark"; readonly width?: number } = {}): Promise<Page> {
    const { scheme = "light", width = 1360 } = options;
    complaints = [];
    page = await (await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, reducedMotion: "reduce" })).newPage();
    page.on("console", (message) => void (["error", "warning"].includes(message.type()) && complaints.push(message.text())));
    page.on("pageerror", (error) => void complaints.push(String(error)));
    page.on("request", (request) => void (!/^data:/.test(request.url()) && new URL(request.url()).origin !== url && complaints.push(`request to ${request.url()}`)));
    page.on("response", (response) => void (response.status() >= 400 && complaints.push(`${response.status()} ${response.url()}`)));
    await page.goto(`${url}/${path}`, { waitUntil: "networkidle" });
    if (pictures !== undefined) {
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: join(pictures, `${path.replaceAll(/[/@.]+/g, "-").replace(/^-|-html$/g, "") || "home"}-${scheme}-${width}.png`), fullPage: true });
    }
    return page;
  }

  const pages = { home: "", concept: "concepts/keys-before-rope.html", outliers: "concepts/outliers.html", api: "api/@kvquant/quant.html", comparison: "comparison.html" };
  const views = [
    { scheme: "light", width: 1360, paths: Object.values(pages) },
    { scheme: "dark", width: 1360, paths: [pages.home, pages.concept, pages.comparison] },
    { scheme: "light", width: 390, paths: [pages.home, pages.api, pages.comparison] },
  ] as const;

  it.each(views)("shows its pages without a complaint and without scrolling sideways: $scheme, $width pixels", async (view) => {
    for (const [index, path] of view.paths.entries()) {
      if (index > 0) await page.context().close();
      await open(path, view);
      expect(complaints, path).toEqual([]);
      expect(await page.locator("h1, .VPHero .name").first().isVisible(), path).toBe(true);
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), path).toBeLessThanOrEqual(0);
      expect(await page.evaluate(() => document.documentElement.classList.contains("dark"))).toBe(view.scheme === "dark");
    }
  });

  it("draws figures inside the page, described in words, in ink that changes with the scheme", async () => {
    const inks: string[] = [];
    for (const scheme of ["light", "dark"] as const) {
      if (scheme === "dark") await page.context().close();
      await open("concepts/keys-per-channel.html", { scheme });
      const figures = page.locator("figure.figure > svg");
      expect(await figures.count()).toBe(2);
      for (const figure of await figures.all()) {
        expect((await figure.getAttribute("aria-label"))!.length).toBeGreaterThan(40);
        expect((await figure.boundingBox())!.height).toBeGreaterThan(100);
      }
      const heat = await page.locator("figure.figure image").first().boundingBox();
      expect(heat!.width).toBeGreaterThan(200);
      inks.push(await page.locator("figure.figure text[font-weight]").first().evaluate((text) => getComputedStyle(text).fill));
    }
    expect(inks[0]).not.toBe(inks[1]);
  });

  it("finds an export of the API by searching", async () => {
    await open("");
    await page.keyboard.press("Control+k");
    await page.locator("#localsearch-input").fill("fitOnGrid");
    const first = page.locator(".VPLocalSearchBox .result").first();
    await first.waitFor();
    await first.click();
    await page.waitForURL(/codebook/);
    expect(await page.locator("main").textContent()).toContain("fitOnGrid");
    expect(complaints).toEqual([]);
  });
});
