// Makes the ready artifacts of packages/artifacts from the texts that ship for the models. Usage: node tools/make-artifacts.mjs (after a build; some minutes)
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeArtifact } from "../packages/quant/dist/index.js";
import { root } from "./setup.mjs";

const models = ["smollm2"];
const caches = ["kvq4", "kvq3", "kvq2", "nuq4-1%", "nuq3-1%", "nuq2-1%"];
const folder = join(root, "packages", "artifacts", "files");
const program = join(root, "apps", "cli", "dist", "main.js");

for (const name of readdirSync(folder).filter((file) => file.endsWith(".kvq"))) rmSync(join(folder, name));
const index = [];
for (const name of models) {
  for (const cache of caches) {
    const file = `${name}-${cache.replace("%", "")}.kvq`;
    const { status } = spawnSync(process.execPath, [program, "calibrate", name, "--cache", cache, "--sequences", "4", "--length", "2048", "--sensitivity", "fisher", "-o", join(folder, file)], { stdio: "inherit" });
    if (status !== 0) process.exit(1);
    const { model, sinkTokens } = decodeArtifact(readFileSync(join(folder, file)));
    index.push({ fingerprint: model.fingerprint, model: model.name, cache, sinkTokens, file });
  }
}
writeFileSync(join(folder, "index.json"), `${JSON.stringify(index, undefined, 2)}\n`);
