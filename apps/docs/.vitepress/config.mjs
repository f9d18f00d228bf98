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
  transformHead: ({ siteData }) => [["link", { rel: "icon", href: `${siteData.base}mark.svg` }]],
  vite: { build: { chunkSizeWarningLimit: 2000 } }, // the search index is one chunk
  markdown: { theme: { light: "github-light", dark: "github-dark" } },
  themeConfig: {
    logo: "/mark.svg",
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
