import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { createCudaDevice } from "./cuda-device.js";
import type { CudaDevice } from "./cuda-device.js";
import { addonIsBuilt, collectGarbage, createFakeDriver } from "./fixtures/fake-driver.js";
import type { FakeDriver } from "./fixtures/fake-driver.js";

const MIB = 1 << 20;
const image = new TextEncoder().encode("kvquant fake image");

/** Parameters of the fake driver's kernel. */
function addParameters(address: bigint, count: number, value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, address, true);
  view.setUint32(8, count, true);
  view.setUint32(12, value, true);
  return new Uint8Array(view.buffer);
}

/** Uploads 0 .. 999, adds 5 on the device, downloads. */
async function addFive(device: CudaDevice): Promise<Uint32Array> {
  using stream = device.createStream();
  using module = device.loadModule(image, "test kernels");
  using memory = device.allocate(4000, "numbers");
  const numbers = Uint32Array.from({ length: 1000 }, (_, index) => index);
  stream.upload(memory, new Uint8Array(numbers.buffer));
  numbers.fill(0);
  stream.launch(module.kernel("add_value"), { grid: [4, 1, 1], block: [256, 1, 1], sharedBytes: 64 << 10, parameters: addParameters(memory.address(), 1000, 5), memory: [memory] });
  await stream.download(memory, new Uint8Array(numbers.buffer));
  return numbers;
}

describe.skipIf(!addonIsBuilt())("a CUDA device", () => {
  let driver: FakeDriver;
  beforeEach(() => {
    driver = createFakeDriver();
  });
  afterEach(async () => {
    await collectGarbage();
    const { allocations, bytes, streams, modules, events, contexts, contextDepth, misuses } = driver.counts();
    expect({ allocations, bytes, streams, modules, events, contexts, contextDepth, misuses }).toEqual({ allocations: 0, bytes: 0, streams: 0, modules: 0, events: 0, contexts: 0, contextDepth: 0, misuses: 0 });
    driver.remove();
  });

  it("copies, launches and copies back", async () => {
    using device = createCudaDevice();
    expect(device.info.name).toBe("Fake GPU 0");
    expect(await addFive(device)).toEqual(Uint32Array.from({ length: 1000 }, (_, index) => index + 5));
    using stream = device.createStream();
    using kernels = device.loadModule(image);
    expect(kernels.kernel("add_value").resources()).toEqual({ registers: 32, localBytes: 0, sharedBytes: 0 });
    using from = device.allocate(16);
    using to = device.allocate(32);
    stream.startTimer();
    stream.fill(from, 7, { offset: 0, bytes: 16 });
    stream.fill(to, 1, { offset: 0, bytes: 32 });
    stream.copy(to, from, { to: 20, from: 2, bytes: 4 });
    expect(await stream.readTimer()).toBe(1.5);
    const out = new Uint8Array(12);
    await stream.download(to, out, 16);
    expect([...out]).toEqual([1, 1, 1, 1, 7, 7, 7, 7, 1, 1, 1, 1]);
  });

  it("uploads what the bytes were when it was called, however late the driver reads them", async () => {
    driver.configure("late");
    using device = createCudaDevice();
    expect(await addFive(device)).toEqual(Uint32Array.from({ length: 1000 }, (_, index) => index + 5));
  });

  it("refuses ranges outside device memory, ordinals that do not exist, kernels and images nobody has, each with its code", async () => {
    expect(() => createCudaDevice({ ordinal: 1 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: "device: expected one of the 1 devices, counted from 0, got 1" }));
    using device = createCudaDevice();
    using stream = device.createStream();
    using memory = device.allocate(100);
    expect(() => stream.upload(memory, new Uint8Array(50), 51)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: "device memory: expected a range within its 100 bytes, got 50 bytes at offset 51" }));
    expect(() => stream.fill(memory, 0, { offset: 2 ** 52, bytes: 2 ** 52 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    await expect(stream.download(memory, new Uint8Array(101))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(() => device.allocate(0)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => device.loadModule(new Uint8Array(10), "kernels for nobody")).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/^cuModuleLoadData, kernels for nobody, 10 bytes, for compute capability 9\.0: .* CUDA_ERROR_INVALID_IMAGE \(200\)/) }));
    using module = device.loadModule(image, "test kernels");
    expect(() => module.kernel("subtract")).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/subtract of test kernels.*CUDA_ERROR_NOT_FOUND/) }));
  });

  it("hands out memory up to its limit and says OUT_OF_CAPACITY beyond, with nothing lost", () => {
    using device = createCudaDevice({ memoryLimit: 8 * MIB });
    const held = [device.allocate(3 * MIB), device.allocate(3 * MIB)];
    expect(() => device.allocate(3 * MIB, "pages of layer 4")).toThrow(expect.objectContaining({ code: "OUT_OF_CAPACITY", message: expect.stringMatching(/^pages of layer 4, 3145728 bytes: expected 3145728 bytes within the pool's limit of 8388608, got \d+ already reserved; dispose caches/) }));
    const { limit, reserved, used } = device.memory();
    expect(limit).toBe(8 * MIB);
    expect(used).toBe(6 * MIB);
    expect(reserved).toBeLessThanOrEqual(8 * MIB);
    held[0]!.dispose();
    using again = device.allocate(3 * MIB);
    expect(device.memory().used).toBe(6 * MIB);
    expect(again.byteLength).toBe(3 * MIB);
    held[1]!.dispose();
  });

  it("says OUT_OF_CAPACITY when the device is full, and takes what is left to the last step", () => {
    driver.configure(`memory=${5 * MIB}`);
    using device = createCudaDevice();
    using four = device.allocate(4 * MIB);
    expect(() => device.allocate(2 * MIB, "one page")).toThrow(expect.objectContaining({ code: "OUT_OF_CAPACITY", message: "cuMemAlloc_v2, one page, 2097152 bytes: expected CUDA_SUCCESS, got CUDA_ERROR_OUT_OF_MEMORY (2): out of memory" }));
    using last = device.allocate(MIB);
    expect(device.memory()).toEqual({ limit: undefined, reserved: 5 * MIB, used: 5 * MIB, free: 0, total: 5 * MIB });
    expect([four.byteLength, last.byteLength]).toEqual([4 * MIB, MIB]);
  });

  it("keeps many small ranges apart, joins what comes back, and returns empty slabs to the device", async () => {
    using device = createCudaDevice();
    using stream = device.createStream();
    const held = new Map<number, ReturnType<CudaDevice["allocate"]>>();
    let state = 1;
    const random = (below: number): number => (state = (state * 48271) % 2147483647) % below;
    const bytesOf = (index: number): number => 1 + ((index * 7919) % 70_000);
    for (let step = 0; step < 3000; step++) {
      const index = random(300);
      const memory = held.get(index);
      if (memory === undefined) {
        const taken = device.allocate(bytesOf(index));
        expect(taken.address() % 256n).toBe(0n);
        stream.fill(taken, index % 251, { offset: 0, bytes: bytesOf(index) });
        held.set(index, taken);
      } else {
        memory.dispose();
        held.delete(index);
      }
    }
    for (const [index, memory] of held) {
      const out = new Uint8Array(bytesOf(index));
      await stream.download(memory, out);
      expect(out.every((byte) => byte === index % 251)).toBe(true);
      memory.dispose();
    }
    await stream.synchronize();
    expect(device.memory()).toMatchObject({ used: 0, reserved: 0 });
  });

  it("gives memory, streams and modules back when they are garbage", async () => {
    using device = createCudaDevice();
    (() => {
      for (let count = 0; count < 20; count++) device.allocate(MIB);
      device.createStream();
      device.loadModule(image).kernel("add_value");
    })();
    expect(driver.counts()).toMatchObject({ streams: 1, modules: 1 });
    expect(device.memory().used).toBe(20 * MIB);
    await collectGarbage();
    expect(driver.counts()).toMatchObject({ allocations: 0, streams: 0, modules: 0, contexts: 1 });
  });

  it("tells V8 how much device memory objects hold, so that garbage goes before the device is full", async () => {
    driver.configure(`memory=${16 * 1024 * MIB}`);
    using device = createCudaDevice();
    for (let count = 0; count < 400; count++) {
      device.allocate(64 * MIB);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(device.memory().used).toBeLessThan(16 * 1024 * MIB);
  });

  it("gives everything back on dispose, after which each call says DISPOSED", async () => {
    const device = createCudaDevice();
    const memory = device.allocate(MIB);
    const stream = device.createStream();
    const module = device.loadModule(image);
    stream.fill(memory, 1, { offset: 0, bytes: 8 });
    device.dispose();
    expect(driver.counts()).toMatchObject({ allocations: 0, streams: 0, modules: 0, contexts: 0, misuses: 0 });
    device.dispose();
    const disposed = expect.objectContaining({ code: "DISPOSED" });
    expect(() => device.allocate(1)).toThrow(disposed);
    expect(() => device.memory()).toThrow(disposed);
    expect(() => device.createStream()).toThrow(disposed);
    expect(() => device.loadModule(image)).toThrow(disposed);
    expect(() => module.kernel("add_value")).toThrow(disposed);
    expect(() => stream.fill(memory, 1, { offset: 0, bytes: 8 })).toThrow(disposed);
    await expect(stream.synchronize()).rejects.toMatchObject({ code: "DISPOSED" });
    memory.dispose();
    memory.dispose();
    stream.dispose();
    module.dispose();
    expect(() => memory.address()).toThrow(disposed);
    expect(() => stream.startTimer()).toThrow(disposed);
  });

  it("refuses a second user of a stream, and to be disposed of, while a promise is pending", async () => {
    using device = createCudaDevice();
    using stream = device.createStream();
    using memory = device.allocate(16);
    const pending = stream.synchronize();
    const busy = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    expect(() => stream.fill(memory, 0, { offset: 0, bytes: 1 })).toThrow(busy);
    expect(() => stream.dispose()).toThrow(busy);
    expect(() => device.dispose()).toThrow(busy);
    await pending;
    stream.fill(memory, 0, { offset: 0, bytes: 1 });
  });

  it("keeps memory until the work on it has ended, even when it is disposed of before", async () => {
    using device = createCudaDevice();
    using stream = device.createStream();
    const memory = device.allocate(MIB);
    stream.fill(memory, 3, { offset: 0, bytes: MIB });
    memory.dispose();
    expect(device.memory().used).toBe(MIB);
    await stream.synchronize();
    expect(device.memory().used).toBe(0);
  });
});

describe.skipIf(!addonIsBuilt())("a failing call of the driver", () => {
  let driver: FakeDriver;
  beforeEach(() => {
    driver = createFakeDriver();
  });
  afterEach(() => driver.remove());

  /** Opens a device, works on it and closes it, with call number `which` of `call` failing; returns what was thrown first. */
  async function workWithFailure(call: string, which: number): Promise<unknown> {
    driver.configure(`fail=${call}@${which}:719`);
    let failure: unknown;
    let device: CudaDevice | undefined;
    try {
      device = createCudaDevice();
      await addFive(device);
      // What a release could not say is told by the next call.
      device.memory();
    } catch (error) {
      failure = error;
    }
    try {
      device?.dispose();
    } catch (error) {
      failure ??= error;
    }
    driver.configure("");
    await collectGarbage();
    return failure;
  }

  const WORK = [
    "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2", "cuStreamCreate", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel", "cuMemGetInfo_v2",
  ];
  /** They leave what they should have released, and nothing else. */
  const RELEASES = ["cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuStreamSynchronize", "cuStreamDestroy_v2", "cuModuleUnload", "cuMemFree_v2", "cuCtxSynchronize", "cuDevicePrimaryCtxRelease_v2"];

  it.each([...WORK, ...RELEASES])("%s is reported with the call, the code's name and what it was for, whichever of its calls it is, and nothing leaks", async (call) => {
    let reported = 0;
    for (let which = 1; which <= 60; which++) {
      const failure = await workWithFailure(call, which);
      if (failure === undefined) break;
      reported++;
      expect(failure).toMatchObject({ name: "KvquantError", code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(new RegExp(`${call}, .+: expected CUDA_SUCCESS, got CUDA_ERROR_LAUNCH_FAILED \\(719\\)`)) });
      const { misuses, allocations, streams, modules, contexts, contextDepth } = driver.counts();
      expect(misuses).toBe(0);
      const left = allocations + streams + modules + contexts + contextDepth;
      if (RELEASES.includes(call)) expect(left).toBeLessThanOrEqual(reported);
      else expect(left).toBe(0);
    }
    expect(reported).toBeGreaterThan(0);
    expect(reported).toBeLessThan(60);
  });

  it.each([214, 700, 716, 719])("that loses the device (%i) is told by every later call, with what to do, until the process is started again", async (code) => {
    const device = createCudaDevice();
    const memory = device.allocate(16);
    const stream = device.createStream();
    stream.fill(memory, 1, { offset: 0, bytes: 16 });
    driver.configure(`fail=cuStreamSynchronize@1:${code} lost`);
    const lost = { code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(new RegExp(`\\(${code}\\): .*; the GPU is lost to this process, which has to be started again`)) };
    await expect(stream.synchronize()).rejects.toMatchObject(lost);
    await expect(stream.synchronize()).rejects.toMatchObject(lost);
    await expect(stream.download(memory, new Uint8Array(16))).rejects.toMatchObject(lost);
    for (const call of [() => device.allocate(1 << 26), () => device.memory(), () => device.createStream(), () => device.loadModule(image), () => stream.fill(memory, 0, { offset: 0, bytes: 1 }), () => device.dispose()]) {
      expect(call).toThrow(expect.objectContaining(lost));
    }
    // Closed all the same.
    expect(() => device.memory()).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    device.dispose();
  });

  it("is not mistaken for another: a device out of memory says OUT_OF_CAPACITY, and works on", async () => {
    driver.configure("fail=cuMemAlloc_v2@1:2");
    using device = createCudaDevice();
    // The next smaller slab is tried, and found.
    using memory = device.allocate(100);
    expect(memory.byteLength).toBe(100);
    expect(await addFive(device)).toHaveLength(1000);
  });
});
