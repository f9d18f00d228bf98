import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeStatistics } from "@kvquant/quant/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Calibration } from "../calibrate-model.js";
import { defaultPlanOptions } from "./plan-option.js";
import { priceCalibration } from "./price-calibration.js";
import type { PlanOption } from "./plan-option.js";

const statistics = makeStatistics({ shape: { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 16 }, windows: 1, tokens: 600 });
const calibration: Calibration = { statistics, fromCache: false, seconds: 1, sequences: 1, length: 600, tokens: 600, textFingerprint: "text", loss: undefined };
const options = defaultPlanOptions().filter(({ id }) => id === "rotated:2" || id === "page:3");
const model = { fingerprint: "model" };
let folder: string;

beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "kvquant-prices-"))));
afterEach(() => rm(folder, { recursive: true }));

it("keeps prices, and reads the same ones the second time without encoding anything", async () => {
  const first = await priceCalibration(model, calibration, { options, folder });
  expect(first.fromCache).toBe(false);
  const openCodec = (): never => {
    throw new Error("a codec was opened");
  };
  expect(await priceCalibration(model, calibration, { options, folder, openCodec })).toEqual({ prices: first.prices, fromCache: true });
});

it("prices again for another model, text or list of options", async () => {
  await priceCalibration(model, calibration, { options, folder });
  const fresh = async (used: { fingerprint: string }, text: string, offered: readonly PlanOption[]): Promise<boolean> =>
    !(await priceCalibration(used, { ...calibration, textFingerprint: text }, { options: offered, folder })).fromCache;
  expect([await fresh({ fingerprint: "other" }, "text", options), await fresh(model, "other", options), await fresh(model, "text", options.slice(1))]).toEqual([true, true, true]);
});

it.each([["cut off", '{"key":'], ["of other settings", '{"key":"[]","prices":[]}'], ["without prices", "swapped"]])("says that a kept file is %s, and prices again", async (_what, content) => {
  const { prices } = await priceCalibration(model, calibration, { options, folder });
  const path = join(folder, (await readdir(folder))[0]!);
  const key = JSON.stringify(JSON.stringify([2, 1, "model", "text", 1, 600, 1, "fisher", ["key page:3", "value rotated:2"]]));
  await writeFile(path, content === "swapped" ? `{"key":${key},"prices":[{"layer":0},{"layer":0}]}` : content);
  const notices: string[] = [];
  const again = await priceCalibration(model, calibration, { options, folder, onNotice: (message) => notices.push(message) });
  expect(again).toEqual({ prices, fromCache: false });
  expect(notices).toEqual([expect.stringContaining("pricing again")]);
});
