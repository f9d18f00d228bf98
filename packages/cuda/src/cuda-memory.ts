/** Ranges of device memory. */

import { callNative, checkInteger } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonDevice, AddonMemory } from "./addon.js";

/** A range of device memory; given back to the pool when disposed of or collected as garbage. */
export interface CudaMemory extends Disposable {
  readonly handle: AddonMemory;
  readonly byteLength: number;
  /** Where it lies, for parameters of kernels. @throws DISPOSED */
  address(): bigint;
  dispose(): void;
}

/** Takes memory from a device's pool. @throws OUT_OF_CAPACITY, DISPOSED, INVALID_ARGUMENT */
export function allocateCudaMemory(device: AddonDevice, bytes: number, what: string): CudaMemory {
  checkInteger(`${what}: bytes`, bytes, { minimum: 1 });
  const handle = callNative(() => new (loadAddon().Memory)(device, bytes, `${what}, ${bytes} bytes`));
  const dispose = (): void => handle.dispose();
  return { handle, byteLength: bytes, address: () => callNative(() => handle.address()), dispose, [Symbol.dispose]: dispose };
}
