/** The kernels of this package on a device. */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { KvquantError, callNative } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonKernels, CudaKernelResources } from "./addon.js";
import type { CudaDevice } from "./cuda-device.js";

/** Families of kernels, one fatbin each; `encode` holds appending too. */
export const KERNEL_FAMILIES = ["keys-channel", "keys-page", "values-token", "values-rotated", "half", "encode"] as const;

/** One of {@link KERNEL_FAMILIES}. */
export type KernelFamily = (typeof KERNEL_FAMILIES)[number];

/** Kernels with a stream and working memory of their own; families are loaded when first needed. Caches that share one take turns. */
export interface CudaKernels {
  readonly device: CudaDevice;
  readonly handle: AddonKernels;
  /** Registers and memory of a kernel, by its name in native/cuda. @throws UNSUPPORTED when there is none of that name */
  resources(name: string): CudaKernelResources;
  /** Bytes of working memory on the device. */
  workBytes(): number;
}

/** Where images of kernels lie in this package. */
export const kernelFolder: string = join(dirname(fileURLToPath(import.meta.url)), "..", "kernels");

/**
 * Makes the kernels of a device.
 * @throws NATIVE_UNAVAILABLE when their images were not built
 */
export function createCudaKernels(device: CudaDevice, images: Readonly<Partial<Record<KernelFamily, Uint8Array>>> = readImages()): CudaKernels {
  const handle = callNative(() => new (loadAddon().Kernels)(device.handle, images));
  return { device, handle, resources: (name) => callNative(() => handle.resources(name)), workBytes: () => handle.workBytes() };
}

function readImages(): Record<KernelFamily, Uint8Array> {
  try {
    return Object.fromEntries(KERNEL_FAMILIES.map((family) => [family, readFileSync(join(kernelFolder, `${family}.fatbin`))])) as unknown as Record<KernelFamily, Uint8Array>;
  } catch (error) {
    throw new KvquantError("NATIVE_UNAVAILABLE", `CUDA kernels: expected a fatbin of each family in ${kernelFolder}, got none (${(error as Error).message}); build them with "pnpm --filter @kvquant/cuda build:kernels"`, { cause: error });
  }
}
