import { describe, expect, it } from "vitest";

import { backendInfo } from "./backend-info.js";
import { NativeModel } from "./native-model.js";
import type { MatrixPart, NativeMatrix, NativeModelShape } from "./native-model.js";
import { createThreads } from "./native-threads.js";

/** ggml's number of fp32. */
const F32 = 0;
const shape: NativeModelShape = {
  layers: 1, width: 16, queryHeads: 2, kvHeads: 1, headDim: 8, feedForward: 24, vocabulary: 10, normEpsilon: 1e-5, attentionBias: false, queryKeyNorm: false,
  rope: { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "none" } },
};
const sizes: Readonly<Record<MatrixPart, readonly [rows: number, cols: number]>> = {
  query: [16, 16], key: [8, 16], value: [8, 16], attention_output: [16, 16], gate: [24, 16], up: [24, 16], down: [16, 24], output: [10, 16],
};

function zeros(rows: number, cols: number): NativeMatrix {
  return { type: F32, rows, cols, rowBytes: 4 * cols, read: (_first, count) => new Uint8Array(4 * cols * count) };
}

/** A model of zeros; `wrong` takes the place of the part it names. */
function fill(wrong: Partial<Record<MatrixPart, NativeMatrix>> = {}): NativeModel {
  const model = new NativeModel(shape, { threads: createThreads(1) });
  for (const [part, [rows, cols]] of Object.entries(sizes) as [MatrixPart, [number, number]][]) model.setMatrix(part === "output" ? undefined : 0, part, wrong[part] ?? zeros(rows, cols));
  for (const part of ["attention_norm", "ffn_norm"] as const) model.setVector(0, part, new Float32Array(16));
  model.setVector(undefined, "output_norm", new Float32Array(16));
  return model;
}

describe.skipIf(!backendInfo().available)("a native model", () => {
  it("is ready once every part is there, and keeps what it has from then on", () => {
    using model = fill();
    model.ready();
    expect(() => model.setMatrix(0, "query", zeros(16, 16))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("not ready yet") }));
    expect(() => model.setVector(undefined, "output_norm", new Float32Array(1))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it.each(Object.entries(sizes) as [MatrixPart, [number, number]][])("refuses a matrix %s of another size, whose rows a step would write or read beyond its memory", (part, [rows, cols]) => {
    for (const other of [zeros(rows + 1, cols), zeros(rows, cols - 8)]) {
      using model = fill({ [part]: other });
      expect(() => model.ready()).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(`${part} of [${rows}, ${cols}]`) }));
    }
  });

  it("does not believe in shorter rows than the type and the columns make", () => {
    using model = new NativeModel(shape, { threads: createThreads(1) });
    const short: NativeMatrix = { ...zeros(16, 16), rowBytes: 4, read: (_first, count) => new Uint8Array(4 * count) };
    expect(() => model.setMatrix(0, "query", short)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("bytes") }));
  });

  it("refuses sizes of zero and query heads that are no whole groups", () => {
    for (const wrong of [{ layers: 0 }, { vocabulary: 0 }, { kvHeads: 0 }, { queryHeads: 3, kvHeads: 2 }]) {
      expect(() => new NativeModel({ ...shape, ...wrong }, { threads: createThreads(1) })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });
});
