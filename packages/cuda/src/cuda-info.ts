/** What CUDA can do on this machine. */

import { KvquantError, callNative } from "@kvquant/spec";

import { driverPath, loadAddon } from "./addon.js";
import type { CudaDeviceInfo } from "./addon.js";

/** The state of CUDA here. */
export interface CudaInfo {
  /** Whether a device can be opened. */
  readonly available: boolean;
  /** Why not, when it is not. */
  readonly reason?: string;
  /** Newest CUDA version the driver supports, such as `13.0`; undefined without a driver. */
  readonly driverVersion?: string;
  readonly devices: readonly CudaDeviceInfo[];
}

/** Says whether the addon loads, the driver opens and a device exists. Never throws for something missing. */
export function cudaInfo(): CudaInfo {
  try {
    const { driverVersion, devices } = callNative(() => loadAddon().info(driverPath()));
    const version = `${Math.floor(driverVersion / 1000)}.${Math.floor((driverVersion % 1000) / 10)}`;
    if (devices.length === 0) return { available: false, reason: "expected at least one CUDA device, the driver knows none", driverVersion: version, devices };
    return { available: true, driverVersion: version, devices };
  } catch (error) {
    if (!KvquantError.isInstance(error)) throw error;
    return { available: false, reason: error.message, devices: [] };
  }
}
