import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LanguageModel } from "@kvquant/model";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseCacheChoices } from "./cache-choice.js";
import { isCalibrationChosen } from "./calibration.js";
import { writeKeptCalibration } from "./kept-calibration.js";
import { listReadyArtifacts } from "./list-ready-artifacts.js";
import { openCaches } from "./open-caches.js";
import type { Preparation } from "./preparation.js";

const [ready] = listReadyArtifacts();
// Ready artifacts need nothing of a model but its identity.
const model = { name: "smollm2", fingerprint: ready!.fingerprint } as LanguageModel;
const settings = { sequences: 1, length: 512, sensitivity: "fisher" } as const;

let folder: string;
let notes: string;
const cacheVariable = process.env["KVQUANT_CACHE"];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvquant-open-caches-"));
  process.env["KVQUANT_CACHE"] = folder;
  notes = "";
});

afterEach(() => {
  if (cacheVariable === undefined) delete process.env["KVQUANT_CACHE"];
  else process.env["KVQUANT_CACHE"] = cacheVariable;
  rmSync(folder, { recursive: true, force: true });
});

function context(): Preparation {
  return { progress: { run: (_title, work) => work(() => undefined), note: (text) => void (notes += text) }, signal: new AbortController().signal };
}

describe("openCaches", () => {
  it("takes the artifact that ships for the model, and says so", async () => {
    const caches = await openCaches(model, parseCacheChoices(`fp16,${ready!.cache}`), { dataOption: "--data", context: context() });
    expect(caches.map(({ name, artifact }) => [name, artifact === "fp16" ? artifact : artifact.cache])).toEqual([["fp16", "fp16"], [ready!.cache, ready!.cache]]);
    expect(notes).toContain(`ready artifact of ${model.name}`);
  });

  it("calibrates instead when the user asked for a calibration, now or with kvquant calibrate", async () => {
    expect(await isCalibrationChosen(model, {})).toBe(false);
    expect(await isCalibrationChosen(model, { sequences: 2 })).toBe(true);
    await writeKeptCalibration(model, settings);
    expect(await isCalibrationChosen(model, {})).toBe(false);
    await writeKeptCalibration(model, { ...settings, chosen: true });
    expect(await isCalibrationChosen(model, {})).toBe(true);
  });
});

describe("parseCacheChoices", () => {
  it("refuses plans of bits that no option has, before anything is calibrated", () => {
    for (const name of ["kvq:0", "kvq:1.9", "kvq:16"]) expect(() => parseCacheChoices(name)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(name) }));
    expect(parseCacheChoices("kvq:2,kvq:3.33")).toMatchObject([{ preset: "kvq:2" }, { preset: "kvq:3.33" }]);
  });
});
