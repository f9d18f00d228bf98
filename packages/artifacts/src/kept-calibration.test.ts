import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LanguageModel } from "@kvquant/model";
import { afterEach, beforeEach, expect, it } from "vitest";
import { calibrationFolder, readKeptCalibration, writeKeptCalibration } from "./kept-calibration.js";
import type { CalibrationSettings } from "./kept-calibration.js";

const model = { fingerprint: "sha256:ab/../12" } as LanguageModel;
const settings: CalibrationSettings = { sequences: 2, length: 512, sensitivity: "fisher" };
const cacheVariable = process.env["KVQUANT_CACHE"];
let folder: string;

beforeEach(() => {
  process.env["KVQUANT_CACHE"] = folder = mkdtempSync(join(tmpdir(), "kvquant-kept-calibration-"));
});
afterEach(() => {
  if (cacheVariable === undefined) delete process.env["KVQUANT_CACHE"];
  else process.env["KVQUANT_CACHE"] = cacheVariable;
  rmSync(folder, { recursive: true, force: true });
});

it("keeps the settings of the last calibration of a model, in a file of its own", async () => {
  expect(await readKeptCalibration(model)).toBeUndefined();
  await writeKeptCalibration(model, settings);
  const text = join(folder, "text.txt");
  writeFileSync(text, "words");
  await writeKeptCalibration(model, { ...settings, data: text, chosen: true });
  expect(await readKeptCalibration(model)).toEqual({ ...settings, data: text, chosen: true });
  expect(await readKeptCalibration({ fingerprint: "another" } as LanguageModel)).toBeUndefined();
  expect(readdirSync(calibrationFolder())).toEqual(["sha256-ab-12.settings.json"]);
  rmSync(text);
  expect(await readKeptCalibration(model)).toBeUndefined();
});

it.each(["", "null", "{}", "[]", JSON.stringify({ ...settings, length: "512" }), JSON.stringify({ ...settings, sequences: 0 }), JSON.stringify({ ...settings, sensitivity: "some" }), JSON.stringify({ ...settings, data: 5 })])(
  "takes a file of %j for none, so that the model is calibrated again",
  async (content) => {
    await writeKeptCalibration(model, settings);
    writeFileSync(join(calibrationFolder(), readdirSync(calibrationFolder())[0]!), content);
    expect(await readKeptCalibration(model)).toBeUndefined();
  },
);
