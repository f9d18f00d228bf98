import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { randomSequence, rowsOf } from "@kvquant/cache/testing";
import { openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import type { CacheShape } from "@kvquant/spec";

import { createCudaDevice } from "./cuda-device.js";
import type { CudaDevice } from "./cuda-device.js";
import { createCudaEncoder } from "./cuda-encoder.js";
import { createCudaKernels } from "./cuda-kernels.js";
import type { CudaKernels } from "./cuda-kernels.js";
import { emulatedKernels } from "./fixtures/emulated-kernels.js";
import { addonIsBuilt, createFakeDriver } from "./fixtures/fake-driver.js";
import type { FakeDriver } from "./fixtures/fake-driver.js";

describe.skipIf(!addonIsBuilt())("encoding on a device", () => {
  let driver: FakeDriver;
  let device: CudaDevice;
  let kernels: CudaKernels;
  beforeEach(() => {
    driver = createFakeDriver();
    device = createCudaDevice();
    kernels = createCudaKernels(device, emulatedKernels());
  });
  afterEach(() => {
    device.dispose();
    expect(driver.counts()).toMatchObject({ allocations: 0, misuses: 0 });
    driver.remove();
  });

  it.each(["kvq2", "kvq3", "nuq4-1%", "nuq3-1%+fb", "nuq2"])("writes the bytes of the TypeScript codecs, %s", async (preset) => {
    for (const [kvHeads, headDim] of [[2, 64], [1, 128]] as const) {
      const shape: CacheShape = { layers: 1, queryHeads: kvHeads, kvHeads, headDim };
      const artifact = randomArtifact(preset, shape, { headDim, rotaryDim: headDim, base: 10000, scaling: { type: "none" } });
      const [plan] = openArtifact(artifact);
      const sequence = randomSequence(shape, 64 + 64 + 37, 3);
      const columns = kvHeads * headDim;
      for (const side of ["key", "value"] as const) {
        const rows = side === "key" ? sequence.k : sequence.v;
        const pages = [[0, 64], [64, 128], [128, 165]].map(([from, to]) => rowsOf(rows, columns, from!, to!));
        const encoded = await createCudaEncoder(kernels, artifact.layers[0]![side]).encode(pages);
        expect(encoded).toEqual(pages.map((page) => plan![side].encode(page)));
      }
    }
  });

  it("refuses rows of the wrong shape, NaN, and quantizers without kernels", async () => {
    const shape: CacheShape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 64 };
    const { key } = randomArtifact("kvq2", shape, { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } }).layers[0]!;
    const encoder = createCudaEncoder(kernels, key);
    const invalid = { code: "INVALID_ARGUMENT" };
    await expect(encoder.encode([{ data: new Float32Array(65 * 64), rows: 65, cols: 64 }])).rejects.toMatchObject(invalid);
    await expect(encoder.encode([{ data: new Float32Array(64), rows: 1, cols: 63 }])).rejects.toMatchObject(invalid);
    await expect(encoder.encode([{ data: new Float32Array(64).fill(NaN), rows: 1, cols: 64 }])).rejects.toMatchObject(invalid);
    expect(await encoder.encode([])).toEqual([]);
    expect(() => createCudaEncoder(kernels, { ...key, id: "mine/keys" })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
