/** The walk along the links of a built site. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { checkLinks } from "./check-links.mjs";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function site(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-docs-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

it("counts links that lead somewhere: pages, places, folders, files, addresses outside", () => {
  const folder = site({
    "index.html": '<link rel="icon" href="data:x"><a class="x" href="/base/guide/a.html#two">a</a><a href="guide/">g</a><img src="/base/x.png"><a href="https://example.org">e</a>',
    "guide/index.html": '<a href="a">a</a><a href="#me">m</a><h2 id="me">',
    "guide/a.html": '<h2 id="two">',
    "x.png": "",
  });
  expect(checkLinks(folder, "/base/")).toEqual({ pages: 3, links: 5, problems: [] });
});

it("names pages, places and pictures that are not there, and what would be loaded from elsewhere", () => {
  const folder = site({ "index.html": '<a href="/b.html">b</a><a href="a.html#no">a</a><img src="c.png"><script src="https://cdn.example/x.js"></script>', "a.html": '<h2 id="yes">' });
  expect(checkLinks(site({ "index.html": '<a href="/a.html">a</a>', "a.html": "" }), "/base/").problems).toEqual(["index.html: /a.html leads nowhere"]);
  expect(checkLinks(folder).problems).toEqual([
    "index.html: /b.html leads nowhere",
    "index.html: a.html#no names no place of a.html",
    "index.html: c.png leads nowhere",
    "index.html: loads https://cdn.example/x.js",
  ]);
});
