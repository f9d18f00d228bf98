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
 * @throws NATIVE_UNAVAILABLE when their images were not built, or with another addon
 */
export function createCudaKernels(device: CudaDevice, images: Readonly<Partial<Record<KernelFamily, Uint8Array>>> = readKernelImages()): CudaKernels {
  const handle = callNative(() => new (loadAddon().Kernels)(device.handle, images));
  return { device, handle, resources: (name) => callNative(() => handle.resources(name)), workBytes: () => handle.workBytes() };
}

/**
 * Reads the images of a folder that the build wrote.
 * @throws NATIVE_UNAVAILABLE when there are none, or they were built from other headers than the addon
 */
export function readKernelImages(folder: string = kernelFolder): Record<KernelFamily, Uint8Array> {
  const rebuild = 'build them with "pnpm --filter @kvquant/cuda build:kernels"';
  const expected = loadAddon().kernelInterface;
  try {
    const interfaceHash = readFileSync(join(folder, "interface.txt"), "utf8").trim();
    if (interfaceHash !== expected) throw new KvquantError("NATIVE_UNAVAILABLE", `CUDA kernels: expected those of interface ${expected}, the addon's, got ${interfaceHash} in ${folder}; ${rebuild}`);
    return Object.fromEntries(KERNEL_FAMILIES.map((family) => [family, readFileSync(join(folder, `${family}.fatbin`))])) as unknown as Record<KernelFamily, Uint8Array>;
  } catch (error) {
    if (error instanceof KvquantError) throw error;
    throw new KvquantError("NATIVE_UNAVAILABLE", `CUDA kernels: expected interface.txt and a fatbin of each family in ${folder}, got none (${(error as Error).message}); ${rebuild}`, { cause: error });
  }
}
