// The site's frame: menu, search, and where things lie. Pages are written by src/collect-pages.mjs and src/make-api.mjs.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitepress";

const folder = join(import.meta.dirname, "..", "dist");
const menu = JSON.parse(readFileSync(join(folder, "menu.json"), "utf8"));

export default defineConfig({
  title: "KVQuant",
  description: "Attention caches of language models at 2 to 4 bits a value, in TypeScript, and what that costs in quality",
  lang: "en",
  srcDir: "dist/source",
  outDir: join(folder, "site"),
  cacheDir: join(folder, "cache"),
  head: [["link", { rel: "icon", href: "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' fill='%231c62b9'/><path d='M4 3v10M4 9l7-6M6.500 7l5 6' stroke='white' stroke-width='1.800' fill='none'/></svg>" }]],
  markdown: { theme: { light: "github-light", dark: "github-dark" } },
  themeConfig: {
    sidebar: menu,
    outline: { level: [2, 3] },
    nav: [
      { text: "Start", link: "/guide/getting-started" },
      { text: "Concepts", link: "/concepts/keys-per-channel" },
      { text: "Comparison", link: "/comparison" },
      { text: "API", link: "/api/" },
    ],
    search: {
      provider: "local",
      options: {
        // Figures are drawings: their tick labels are not what anybody looks for.
        _render: (source, env, markdown) => markdown.render(source, env).replaceAll(/<figure[^]*?<\/figure>/g, ""),
      },
    },
    footer: { message: "Apache-2.0" },
  },
});
