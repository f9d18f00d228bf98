/** Work in order on a device. */

import { awaitNative, callNative } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonDevice, AddonStream } from "./addon.js";
import type { CudaMemory } from "./cuda-memory.js";
import type { CudaKernel } from "./cuda-module.js";

/** How a kernel is launched. */
export interface CudaLaunch {
  /** Blocks in x, y, z. */
  readonly grid: readonly [number, number, number];
  /** Threads of a block in x, y, z. */
  readonly block: readonly [number, number, number];
  /** Dynamic shared memory of a block. Default 0. */
  readonly sharedBytes?: number;
  /** The kernel's parameters as it reads them: packed, little-endian, aligned. */
  readonly parameters: Uint8Array;
  /** Device memory the kernel uses; kept until the stream has been waited for. */
  readonly memory: readonly CudaMemory[];
}

/** A queue of work. One caller at a time: while a promise of it is pending, other calls throw INVALID_ARGUMENT. */
export interface CudaStream extends Disposable {
  readonly handle: AddonStream;
  /** Copies to the device, at `offset` (default 0); `bytes` may be changed once it returns. @throws INVALID_ARGUMENT for a range outside, DISPOSED */
  upload(memory: CudaMemory, bytes: Uint8Array, offset?: number): void;
  /** Copies from the device and waits. @throws INVALID_ARGUMENT for a range outside, DISPOSED */
  download(memory: CudaMemory, out: Uint8Array, offset?: number): Promise<void>;
  /** Sets `bytes` bytes from `offset` on. */
  fill(memory: CudaMemory, value: number, range: { readonly offset: number; readonly bytes: number }): void;
  /** Copies on the device. */
  copy(to: CudaMemory, from: CudaMemory, range: { readonly to: number; readonly from: number; readonly bytes: number }): void;
  launch(kernel: CudaKernel, launch: CudaLaunch): void;
  /** Waits for all work. @throws what a kernel or copy failed with */
  synchronize(): Promise<void>;
  /** Starts a timer that the device runs. */
  startTimer(): void;
  /** Waits for all work and says how many milliseconds it took since the timer was started. */
  readTimer(): Promise<number>;
  /** Waits for all work. @throws INVALID_ARGUMENT while a promise is pending */
  dispose(): void;
}

/** Makes a stream. @throws DISPOSED */
export function createCudaStream(device: AddonDevice): CudaStream {
  const handle = callNative(() => new (loadAddon().Stream)(device));
  const dispose = (): void => callNative(() => handle.dispose());
  return {
    handle,
    upload: (memory, bytes, offset = 0) => callNative(() => handle.upload(memory.handle, offset, bytes)),
    download: (memory, out, offset = 0) => awaitNative(async () => handle.download(memory.handle, offset, out)),
    fill: (memory, value, { offset, bytes }) => callNative(() => handle.fill(memory.handle, offset, value, bytes)),
    copy: (to, from, range) => callNative(() => handle.copy(to.handle, range.to, from.handle, range.from, range.bytes)),
    launch: (kernel, { grid, block, sharedBytes = 0, parameters, memory }) =>
      callNative(() => handle.launch(kernel.handle, Uint32Array.from(grid), Uint32Array.from(block), sharedBytes, parameters, memory.map((each) => each.handle))),
    synchronize: () => awaitNative(async () => handle.synchronize()),
    startTimer: () => callNative(() => handle.startTimer()),
    readTimer: () => awaitNative(async () => handle.readTimer()),
    dispose,
    [Symbol.dispose]: dispose,
  };
}
