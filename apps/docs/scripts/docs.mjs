// `npm run docs`: builds the site into apps/docs/dist/site. `-- --serve` serves it, `-- --watch` builds pages as they are edited, `-- --base /kvquant/` builds for a site below that path,
// `--skip-setup` takes what is installed.
import { parseArgs } from "node:util";
import { setUp } from "../../../tools/setup.mjs";

const { values } = parseArgs({ options: { serve: { type: "boolean" }, watch: { type: "boolean" }, "skip-setup": { type: "boolean" }, base: { type: "string", default: "/" }, port: { type: "string", default: "4173" } } });
const port = Number(values.port);
const write = (/** @type {string} */ text) => void process.stdout.write(text);

try {
  if (values["skip-setup"] !== true) await setUp();
  // Their packages are there only now.
  const { buildSite, docsFolder, prepareSite } = await import("../src/build-site.mjs");
  if (values.watch === true) {
    await prepareSite();
    const { createServer } = await import("vitepress");
    const server = await createServer(docsFolder, { port });
    await server.listen();
    server.printUrls();
  } else {
    const { pages, links, seconds } = await buildSite({ base: values.base, write });
    write(`${pages} pages, ${links} links, all of them lead somewhere; ${seconds.toFixed(1)} s; apps/docs/dist/site\n`);
    if (values.serve === true) {
      const { serve } = await import("vitepress");
      await serve({ root: docsFolder, base: values.base, port });
    }
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
