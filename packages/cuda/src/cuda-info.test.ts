import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, it } from "vitest";

import { loadAddon } from "./addon.js";
import { createCudaDevice } from "./cuda-device.js";
import { cudaInfo } from "./cuda-info.js";
import { addonIsBuilt, createFakeDriver } from "./fixtures/fake-driver.js";
import type { FakeDriver } from "./fixtures/fake-driver.js";

describe.skipIf(!addonIsBuilt())("cudaInfo", () => {
  let driver: FakeDriver | undefined;
  afterEach(() => {
    driver?.remove();
    driver = undefined;
    delete process.env.KVQUANT_CUDA_DRIVER;
  });

  it("says which library is missing where there is no driver, and opening a device says the same", () => {
    process.env.KVQUANT_CUDA_DRIVER = "libcuda-of-nobody.so.1";
    const info = cudaInfo();
    expect(info).toMatchObject({ available: false, devices: [] });
    expect(info.reason).toMatch(/expected a CUDA driver, got none \(libcuda-of-nobody\.so\.1: cannot open/);
    expect(info.driverVersion).toBeUndefined();
    expect(() => createCudaDevice()).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE", message: info.reason }));
  });

  it("names the file that is no library, and the function an old driver lacks", () => {
    const folder = mkdtempSync(join(tmpdir(), "kvquant-no-driver-"));
    const file = join(folder, "libcuda.so.1");
    writeFileSync(file, "not a library");
    process.env.KVQUANT_CUDA_DRIVER = file;
    expect(cudaInfo().reason).toMatch(/libcuda\.so\.1/);
    rmSync(folder, { recursive: true });
    driver = createFakeDriver(["cuLaunchKernel=absent"]);
    expect(cudaInfo().reason).toMatch(/expected a CUDA driver with cuLaunchKernel, got one without; update/);
  });

  it.each([
    [35, "CUDA_ERROR_INSUFFICIENT_DRIVER"],
    [100, "CUDA_ERROR_NO_DEVICE"],
  ])("takes error %i, %s, as no GPU", (code, name) => {
    driver = createFakeDriver();
    driver.configure(`fail=cuInit@1:${code}`);
    const { available, reason } = cudaInfo();
    expect(available).toBe(false);
    expect(reason).toContain(`cuInit, flags 0: expected CUDA_SUCCESS, got ${name} (${code})`);
    expect(reason).toContain("this machine has no usable GPU, use the cpu backend");
    // The driver is tried again: a GPU may have come.
    expect(cudaInfo().available).toBe(true);
  });

  it("says so when a driver knows no devices", () => {
    driver = createFakeDriver();
    driver.configure("devices=0");
    expect(cudaInfo()).toEqual({ available: false, reason: "expected at least one CUDA device, the driver knows none", driverVersion: "13.0", devices: [] });
  });

  it("lists every device with what the driver says of it", () => {
    driver = createFakeDriver();
    driver.configure("devices=2 memory=2147483648");
    const info = cudaInfo();
    expect(info).toMatchObject({ available: true, driverVersion: "13.0" });
    expect(info.devices).toHaveLength(2);
    expect(info.devices[1]).toMatchObject({ name: "Fake GPU 1", computeCapability: "9.0", totalMemory: 2 ** 31, multiprocessors: 4, sharedBytesPerBlock: 227 * 1024 });
    expect(loadAddon().attribute(driver.path, 0, 16)).toBe(4);
  });

  it.each(["cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2", "cuDeviceGetAttribute"])("reports a failing %s with the call and the code", (call) => {
    driver = createFakeDriver();
    driver.configure(`fail=${call}@1:999`);
    const { available, reason } = cudaInfo();
    expect(available).toBe(false);
    expect(reason).toMatch(new RegExp(`^${call}, .*: expected CUDA_SUCCESS, got unknown error \\(999\\)`));
  });
});
