/** Why caches cannot attend on a GPU. */

import { existsSync } from "node:fs";
import { join } from "node:path";

import { explainNativeCodec } from "@kvquant/cpu";
import type { QuantizerArtifact } from "@kvquant/spec";

import { KERNEL_FAMILIES, kernelFolder } from "./cuda-kernels.js";
import { cudaInfo } from "./cuda-info.js";

/** Head dims with kernels. */
export const CUDA_HEAD_DIMS: readonly number[] = [64, 128, 256];

/** First generation of devices with kernels (A100). */
const LEAST_COMPUTE_CAPABILITY = 8;

/** Why a device of this machine cannot run caches of a head dim, whatever they hold; undefined when it can. */
export function explainCuda(headDim: number, ordinal = 0): string | undefined {
  const { available, reason, devices } = cudaInfo();
  if (!available) return reason;
  const device = devices[ordinal];
  if (device === undefined) return `no device ${ordinal}; there are ${devices.length}, counted from 0`;
  if (Number(device.computeCapability.split(".")[0]) < LEAST_COMPUTE_CAPABILITY) return `no kernels for ${device.name} of compute capability ${device.computeCapability}; there are from ${LEAST_COMPUTE_CAPABILITY}.0 on`;
  if (!CUDA_HEAD_DIMS.includes(headDim)) return `no CUDA kernels for head dim ${headDim}; there are for ${CUDA_HEAD_DIMS.join(", ")}`;
  const missing = KERNEL_FAMILIES.find((family) => !existsSync(join(kernelFolder, `${family}.fatbin`)));
  return missing === undefined ? undefined : `the kernels were not built (no ${missing}.fatbin in ${kernelFolder}); run "pnpm --filter @kvquant/cuda build:kernels"`;
}

/** Why no kernels exist for a fitted quantizer; undefined when they do. */
export function explainCudaCodec(artifact: QuantizerArtifact): string | undefined {
  const reason = explainNativeCodec(artifact);
  if (reason !== undefined) return reason;
  const headDim = artifact.arrays.geometry![1]!;
  return CUDA_HEAD_DIMS.includes(headDim) ? undefined : `no CUDA kernels for head dim ${headDim}; there are for ${CUDA_HEAD_DIMS.join(", ")}`;
}
