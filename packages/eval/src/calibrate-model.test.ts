import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { createStatisticsCollector, encodeStatistics } from "@kvquant/quant";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { calibrateModel } from "./calibrate-model.js";
import type { CalibrationOptions, CalibrationProgress } from "./calibrate-model.js";
import { makeArtifact } from "./make-artifact.js";
import { createToyModel, toyTokens } from "./test-support/toy-model.js";
import type { ToyOptions } from "./test-support/toy-model.js";

const tokens = toyTokens(500);
const base: CalibrationOptions = { tokens, sequences: 2, length: 200, sinkTokens: 1, sensitivity: "fisher" };
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("calibrateModel", () => {
  it("gives the statistics of all its windows, and the mean loss", async () => {
    const { model, calls } = createToyModel();
    const calibration = await calibrateModel(model, base);
    const { layers, queryHeads, kvHeads, headDim, rope } = model.config;
    const collector = createStatisticsCollector({ shape: { layers, queryHeads, kvHeads, headDim }, rope, sinkTokens: 1, sensitivity: "fisher" });
    for (const start of [0, 200]) {
      await model.gradients(tokens.slice(start, start + 200), { onLayer: ({ layer, ...window }) => collector.add(layer, window) });
    }
    expect(calibration).toMatchObject({ fromCache: false, sequences: 2, length: 200, tokens: 400, loss: 2 });
    expect(calibration.textFingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(digest(encodeStatistics(calibration.statistics))).toBe(digest(encodeStatistics(collector.finish())));
    expect(calls).toEqual({ forward: 0, gradients: 4, attention: 0 });
  });

  it("runs forward alone for the other sensitivities", async () => {
    for (const sensitivity of ["attention", "none"] as const) {
      const { model, calls } = createToyModel();
      const { statistics, loss } = await calibrateModel(model, { ...base, sensitivity });
      expect(statistics.sensitivity).toBe(sensitivity);
      expect(statistics.layers[0]!.key.feedback === undefined).toBe(sensitivity === "none");
      expect(loss).toBeUndefined();
      expect(calls).toEqual({ forward: 0, gradients: 0, attention: 2 });
    }
  });

  it("counts progress up to the total and stops when the signal fires", async () => {
    const events: CalibrationProgress[] = [];
    await calibrateModel(createToyModel().model, { ...base, onProgress: (event) => events.push(event) });
    expect(events.map((event) => [event.window, event.done, event.total])).toEqual([[1, 1, 4], [1, 2, 4], [2, 3, 4], [2, 4, 4]]);
    const controller = new AbortController();
    const run = calibrateModel(createToyModel().model, { ...base, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("refuses NaN, naming layer and place, and settings that make no sense", async () => {
    for (const sensitivity of ["fisher", "attention", "none"] as const) {
      const broken = calibrateModel(createToyModel({ brokenLayer: 1 }).model, { ...base, sensitivity });
      await expect(broken).rejects.toMatchObject({ code: "CORRUPT_DATA", message: expect.stringMatching(/values of layer 1 of toy.*NaN at token 1, channel 3/) as string });
    }
    const { model } = createToyModel();
    for (const wrong of [{ sequences: 0 }, { length: 1 }, { sinkTokens: 200 }, { sinkTokens: -1 }, { length: 501 }, { sensitivity: "exact" as "none" }]) {
      await expect(calibrateModel(model, { ...base, ...wrong })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });
});

describe("calibrateModel with a folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "kvquant-calibrate-"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const run = async (changes: Partial<CalibrationOptions> = {}, toy: ToyOptions = {}) => {
    const { model, calls } = createToyModel(toy);
    const notices: string[] = [];
    const calibration = await calibrateModel(model, { ...base, folder: join(folder, "new"), onNotice: (notice) => notices.push(notice), ...changes });
    return { calibration, ran: calls.gradients + calls.attention, notices };
  };

  it("calibrates once and gives the same statistics, seconds and loss from disk", async () => {
    const first = await run();
    const second = await run();
    expect([first.ran, second.ran]).toEqual([2, 0]);
    const { statistics, ...facts } = second.calibration;
    expect(facts).toEqual({ ...facts, seconds: first.calibration.seconds, loss: 2, fromCache: true, tokens: 400, textFingerprint: first.calibration.textFingerprint });
    expect(digest(encodeStatistics(statistics))).toBe(digest(encodeStatistics(first.calibration.statistics)));
  });

  it("takes nothing from another model, text or setting", async () => {
    await run();
    const others: [Partial<CalibrationOptions>, ToyOptions][] = [
      [{}, { fingerprint: "other" }],
      [{ tokens: toyTokens(500, 9) }, {}],
      [{ sequences: 1 }, {}],
      [{ length: 150 }, {}],
      [{ sinkTokens: 2 }, {}],
      [{ sensitivity: "attention" }, {}],
      [{ sensitivity: "none" }, {}],
    ];
    for (const [changes, toy] of others) expect((await run(changes, toy)).ran).toBeGreaterThan(0);
    expect(await readdir(join(folder, "new"))).toHaveLength(8);
    for (const [changes, toy] of others) expect((await run(changes, toy)).ran).toBe(0);
  });

  it("calibrates again, and says so, when the file is damaged or not what its name says", async () => {
    await run({ sequences: 1 });
    const [name] = await readdir(join(folder, "new"));
    const path = join(folder, "new", name!);
    const good = await readFile(path);
    const content = gunzipSync(good);
    const flipped = Buffer.from(content);
    flipped[content.length - 9]! ^= 4;
    const damaged = [
      Buffer.alloc(0),
      good.subarray(0, good.length / 2),
      Buffer.from(good).fill(good[good.length >> 1]! ^ 16, good.length >> 1, (good.length >> 1) + 1),
      gzipSync(flipped),
      gzipSync(content.subarray(0, content.length - 1)),
      gzipSync(Buffer.from(content.toString("latin1").replace('"sinkTokens":1', '"sinkTokens":0'), "latin1")),
      gzipSync(Buffer.from("no header")),
    ];
    for (const bytes of damaged) {
      await writeFile(path, bytes);
      const again = await run({ sequences: 1 });
      expect(again.notices).toEqual([expect.stringMatching(/cannot be used .*; calibrating again/)]);
      expect(again.ran).toBe(1);
      expect((await run({ sequences: 1 })).ran).toBe(0);
    }
  });
});

describe("makeArtifact", () => {
  it("records the model, the text and the settings", async () => {
    const { model } = createToyModel();
    const calibration = await calibrateModel(model, base);
    const artifact = makeArtifact(model, "nuq3-1%", calibration);
    expect(artifact).toMatchObject({
      cache: "nuq3-1%",
      model: { fingerprint: "toy-fingerprint", name: "toy" },
      sinkTokens: 1,
      calibration: { textFingerprint: calibration.textFingerprint, sequences: 2, length: 200, tokens: 400, sensitivity: "fisher", method: "kvquant/backward-pass" },
    });
    expect(artifact.layers).toHaveLength(2);
    expect(() => makeArtifact(model, "nuq9", calibration)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("refuses feedback rounding on statistics without sensitivities", async () => {
    const { model } = createToyModel();
    const calibration = await calibrateModel(model, { ...base, sensitivity: "none" });
    expect(() => makeArtifact(model, "nuq3-1%+fb", calibration)).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
