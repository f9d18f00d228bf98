/** The addon as TypeScript sees it, and its loading. The addon checks ranges and types again for memory safety. */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { KvquantError } from "@kvquant/spec";
import nodeGypBuild from "node-gyp-build";

/** A device as the driver describes it. */
export interface CudaDeviceInfo {
  readonly name: string;
  /** Such as `9.0`. */
  readonly computeCapability: string;
  /** Bytes. */
  readonly totalMemory: number;
  readonly multiprocessors: number;
  readonly l2Bytes: number;
  readonly sharedBytesPerMultiprocessor: number;
  /** Shared memory a block can have. */
  readonly sharedBytesPerBlock: number;
  readonly clockKilohertz: number;
  readonly memoryClockKilohertz: number;
  readonly memoryBusBits: number;
}

/** Memory of a device, in bytes. */
export interface CudaMemoryUse {
  /** Most that this opening of the device takes; undefined when it has no limit of its own. */
  readonly limit: number | undefined;
  /** Taken from the device. */
  readonly reserved: number;
  /** Handed out. */
  readonly used: number;
  /** Free on the device, for all programs. */
  readonly free: number;
  readonly total: number;
}

/** Resources of a compiled kernel. */
export interface CudaKernelResources {
  readonly registers: number;
  /** Spilled or indexed bytes a thread. */
  readonly localBytes: number;
  /** Static shared memory of a block. */
  readonly sharedBytes: number;
}

/** A device opened for work. */
export interface AddonDevice {
  info(): CudaDeviceInfo;
  memory(): CudaMemoryUse;
  dispose(): void;
}

/** A range of device memory. */
export interface AddonMemory {
  address(): bigint;
  dispose(): void;
}

/** Loaded kernels. */
export interface AddonModule {
  dispose(): void;
}

/** One kernel. */
export interface AddonKernel {
  resources(): CudaKernelResources;
}

/** Work in order. */
export interface AddonStream {
  upload(memory: AddonMemory, offset: number, bytes: Uint8Array): void;
  download(memory: AddonMemory, offset: number, bytes: Uint8Array): Promise<void>;
  fill(memory: AddonMemory, offset: number, value: number, bytes: number): void;
  copy(to: AddonMemory, toOffset: number, from: AddonMemory, fromOffset: number, bytes: number): void;
  launch(kernel: AddonKernel, grid: Uint32Array, block: Uint32Array, sharedBytes: number, parameters: Uint8Array, memories: readonly AddonMemory[]): void;
  synchronize(): Promise<void>;
  startTimer(): void;
  readTimer(): Promise<number>;
  dispose(): void;
}

/** What the addon exports. */
export interface Addon {
  info(driver: string): { readonly driverVersion: number; readonly devices: readonly CudaDeviceInfo[] };
  attribute(driver: string, ordinal: number, attribute: number): number;
  readonly Device: new (driver: string, ordinal: number, memoryLimit: number) => AddonDevice;
  readonly Memory: new (device: AddonDevice, bytes: number, shape: string) => AddonMemory;
  readonly Module: new (device: AddonDevice, image: Uint8Array, label: string) => AddonModule;
  readonly Kernel: new (module: AddonModule, name: string) => AddonKernel;
  readonly Stream: new (device: AddonDevice) => AddonStream;
}

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), "..");

let loaded: Addon | undefined;
let failure: Error | undefined;

/**
 * Loads the addon once: the file `KVQUANT_CUDA_ADDON` names (builds with sanitizers), `build/Release` of a source build, else a prebuilt binary of this platform.
 * It needs no driver; that is opened by the first call that does.
 * @throws NATIVE_UNAVAILABLE with the reason
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    if (failure !== undefined) throw failure;
    const named = process.env.KVQUANT_CUDA_ADDON;
    loaded = (named === undefined || named === "" ? nodeGypBuild(packageFolder) : createRequire(import.meta.url)(named)) as Addon;
    return loaded;
  } catch (error) {
    failure = error as Error;
    throw new KvquantError("NATIVE_UNAVAILABLE", `@kvquant/cuda: expected an addon for ${process.platform}-${process.arch}, got none (${failure.message.split("\n")[0]}); build it with "pnpm --filter @kvquant/cuda build:addon" (C++20 compiler, make, Python 3; no CUDA)`, { cause: failure });
  }
}

/** The driver to open: the file `KVQUANT_CUDA_DRIVER` names, else the system's `libcuda.so.1`. */
export function driverPath(): string {
  const named = process.env.KVQUANT_CUDA_DRIVER;
  return named === undefined || named === "" ? "libcuda.so.1" : named;
}
