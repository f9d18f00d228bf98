/** A GPU opened for work. */

import { callNative, checkInteger } from "@kvquant/spec";

import { driverPath, loadAddon } from "./addon.js";
import type { AddonDevice, CudaDeviceInfo, CudaMemoryUse } from "./addon.js";
import { allocateCudaMemory } from "./cuda-memory.js";
import type { CudaMemory } from "./cuda-memory.js";
import { loadCudaModule } from "./cuda-module.js";
import type { CudaModule } from "./cuda-module.js";
import { createCudaStream } from "./cuda-stream.js";
import type { CudaStream } from "./cuda-stream.js";

/** How a device is opened. */
export interface CudaDeviceOptions {
  /** Which device, counted from 0. Default 0. */
  readonly ordinal?: number;
  /** Most bytes taken from the device. Default: as many as it has. */
  readonly memoryLimit?: number;
}

/** An open device with a memory pool of its own. What lives on it becomes unusable when it is disposed of, and keeps it open until then. */
export interface CudaDevice extends Disposable {
  readonly handle: AddonDevice;
  readonly ordinal: number;
  readonly info: CudaDeviceInfo;
  /** @throws DISPOSED */
  memory(): CudaMemoryUse;
  /**
   * Takes `bytes` bytes from the pool, at a multiple of 256; contents are undefined. `what` is named in errors.
   * @throws OUT_OF_CAPACITY beyond the pool's limit or the device's memory, DISPOSED
   */
  allocate(bytes: number, what?: string): CudaMemory;
  /** @throws DISPOSED */
  createStream(): CudaStream;
  /** Loads kernels from a fatbin, cubin or PTX text; `label` is named in errors. @throws UNSUPPORTED when it holds none for this device, DISPOSED */
  loadModule(image: Uint8Array, label?: string): CudaModule;
  /** Ends all work and gives all memory back. @throws INVALID_ARGUMENT while work is awaited */
  dispose(): void;
}

/**
 * Opens a device.
 * @throws NATIVE_UNAVAILABLE with the reason when there is no driver or GPU; INVALID_ARGUMENT for an ordinal that does not exist
 */
export function createCudaDevice(options: CudaDeviceOptions = {}): CudaDevice {
  const { ordinal = 0, memoryLimit } = options;
  checkInteger("ordinal", ordinal, { minimum: 0, maximum: 1023 });
  if (memoryLimit !== undefined) checkInteger("memoryLimit", memoryLimit, { minimum: 1 });
  const handle = callNative(() => new (loadAddon().Device)(driverPath(), ordinal, memoryLimit ?? 0));
  const dispose = (): void => callNative(() => handle.dispose());
  return {
    handle,
    ordinal,
    info: handle.info(),
    memory: () => callNative(() => handle.memory()),
    allocate: (bytes, what = "device memory") => allocateCudaMemory(handle, bytes, what),
    createStream: () => createCudaStream(handle),
    loadModule: (image, label = "module") => loadCudaModule(handle, image, label),
    dispose,
    [Symbol.dispose]: dispose,
  };
}
