import { readFileSync, readdirSync } from "node:fs";
import { decodeArtifact, openArtifact, parsePreset } from "@kvquant/quant";
import { describe, expect, it } from "vitest";
import { findReadyArtifact, listReadyArtifacts } from "./index.js";

const ready = listReadyArtifacts();

describe("ready artifacts", () => {
  it.each(ready.map((entry) => [entry.cache, entry.model, entry] as const))("%s of %s is what the list says, fitted as the preset is today, and opens", (cache, _model, { fingerprint, sinkTokens, url }) => {
    const artifact = decodeArtifact(readFileSync(url));
    expect(artifact.cache).toBe(cache);
    expect(artifact.model.fingerprint).toBe(fingerprint);
    expect(artifact.sinkTokens).toBe(sinkTokens);
    expect(openArtifact(artifact)).toHaveLength(artifact.shape.layers);
    const preset = parsePreset(cache);
    expect(new Set(artifact.layers.map(({ key, value }) => `${key.id} ${value.id}`))).toEqual(new Set([`${preset.key.id} ${preset.value.id}`]));
  });

  it("are found by fingerprint, preset and sinks", async () => {
    const [first] = ready;
    const found = await findReadyArtifact({ fingerprint: first!.fingerprint, cache: first!.cache });
    expect(found?.cache).toBe(first!.cache);
    expect(found?.model.name).toBe(first!.model);
  });

  it("are not found for another model, preset or number of sinks", async () => {
    const { fingerprint, cache } = ready[0]!;
    expect(await findReadyArtifact({ fingerprint: `${fingerprint}0`, cache })).toBeUndefined();
    expect(await findReadyArtifact({ fingerprint, cache: "q4_0" })).toBeUndefined();
    expect(await findReadyArtifact({ fingerprint, cache, sinkTokens: 4 })).toBeUndefined();
  });

  it("are listed once each, leave no file unlisted, and stay small enough to ship", () => {
    const files = readdirSync(new URL("../files/", import.meta.url)).filter((name) => name.endsWith(".kvq"));
    expect(ready.map(({ url }) => url.pathname.split("/").at(-1)).sort()).toEqual(files.sort());
    const bytes = ready.reduce((sum, { url }) => sum + readFileSync(url).length, 0);
    expect(bytes).toBeLessThan(3 * 1024 * 1024);
  });
});
