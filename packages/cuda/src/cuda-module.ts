/** Kernels on a device. */

import { callNative } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonDevice, AddonKernel, CudaKernelResources } from "./addon.js";

/** One kernel; it keeps its module loaded. */
export interface CudaKernel {
  readonly handle: AddonKernel;
  readonly name: string;
  /** @throws DISPOSED */
  resources(): CudaKernelResources;
}

/** Loaded kernels. */
export interface CudaModule extends Disposable {
  /** @throws UNSUPPORTED when the module has no kernel of that name, DISPOSED */
  kernel(name: string): CudaKernel;
  dispose(): void;
}

/** Loads a fatbin, cubin or PTX text. @throws UNSUPPORTED when it holds nothing for the device, DISPOSED */
export function loadCudaModule(device: AddonDevice, image: Uint8Array, label: string): CudaModule {
  const module = callNative(() => new (loadAddon().Module)(device, image, label));
  const dispose = (): void => module.dispose();
  return {
    kernel(name) {
      const handle = callNative(() => new (loadAddon().Kernel)(module, name));
      return { handle, name, resources: () => callNative(() => handle.resources()) };
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}
