/** Compressed pages on a GPU: the CUDA driver opened at run time, device memory, streams and kernels. */

export type { CudaDeviceInfo, CudaKernelResources, CudaMemoryUse } from "./addon.js";
export { createCudaDevice } from "./cuda-device.js";
export type { CudaDevice, CudaDeviceOptions } from "./cuda-device.js";
export { createCudaEncoder } from "./cuda-encoder.js";
export type { CudaEncoder } from "./cuda-encoder.js";
export { cudaInfo } from "./cuda-info.js";
export type { CudaInfo } from "./cuda-info.js";
export type { CudaMemory } from "./cuda-memory.js";
export type { CudaKernel, CudaModule } from "./cuda-module.js";
export type { CudaLaunch, CudaStream } from "./cuda-stream.js";
export { createCudaKernels, KERNEL_FAMILIES } from "./cuda-kernels.js";
export type { CudaKernels, KernelFamily } from "./cuda-kernels.js";
export { createCudaCache, cudaBackendId, isCudaCache, openCudaPlan } from "./cuda-plan.js";
export type { DevicePage } from "./cuda-layer.js";
export type { CudaCacheOptions, CudaKvCache, CudaLayerPlan, CudaPlan } from "./cuda-plan.js";
export { CUDA_HEAD_DIMS, explainCuda, explainCudaCodec } from "./explain-cuda.js";
