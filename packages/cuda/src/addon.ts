/** The addon as TypeScript sees it, and its loading. The addon checks ranges and types again for memory safety. */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type { KeyCodecOptions, ValueCodecOptions } from "@kvquant/cpu";
import { KvquantError } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
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

/** Loaded kernels with a stream and working memory. */
export interface AddonKernels {
  resources(name: string): CudaKernelResources;
  workBytes(): number;
}

/** What the caches of one model and artifact share. */
export interface AddonTables {
  bytes(): number;
  /** Attention of sequences of one layer in the same launches. Resolves to what became of each call, in order; rejects when nothing could be started. */
  attend(layer: number, calls: readonly AddonAttend[]): Promise<readonly (Error | undefined)[]>;
}

/** What a cache is made of; null for an fp16 layer. */
export interface AddonTablesOptions extends Omit<CacheShape, "layers"> {
  readonly sinkTokens: number;
  readonly rotaryDim: number;
  readonly attentionFactor: number;
  readonly frequencies: Float64Array;
  readonly layers: readonly ({ readonly key: KeyCodecOptions; readonly value: ValueCodecOptions } | null)[];
}

/** One attention of a layer of a sequence; see `AttendCall` in native/cuda-node/layer-mirror.h. */
export interface AddonAttend {
  readonly layer: AddonLayer;
  /** Columns of keys and values, and of queries. */
  readonly columns: number;
  readonly queryColumns: number;
  /** Pages that follow those on the device. */
  readonly pages: readonly { readonly key: Uint8Array; readonly value: Uint8Array; readonly encodedTokens: number }[];
  /** Of all pages. */
  readonly starts: Float64Array;
  readonly tokens: Uint32Array;
  readonly length: number;
  /** Exact tokens that the device lacks. */
  readonly rows: readonly { readonly position: number; readonly count: number; readonly keys: Float32Array; readonly values: Float32Array }[];
  readonly queries: Float32Array;
  /** Position of the first query. */
  readonly first: number;
  /** Pages that each query sees. */
  readonly visible: Uint32Array;
  readonly out: Float32Array;
}

/** One layer of one sequence on the device. */
export interface AddonLayer {
  /** Pages on the device. */
  pages(): number;
  keepPages(count: number): void;
  forget(position: number): void;
  /** First missing sink, and first missing position from `start` on, where exact tokens are to begin. */
  missing(start: number): readonly [number, number];
  downloadPage(index: number, key: Uint8Array, value: Uint8Array): Promise<void>;
  bytes(): number;
  dispose(): void;
}

/** Encodes pages of one layer and side. */
export interface AddonEncoder {
  encode(pages: readonly { readonly data: Float32Array; readonly tokens: number }[]): Promise<{ readonly bytes: Uint8Array; readonly saturated: number; readonly clamped: number }[]>;
}

/** What the addon exports. */
export interface Addon {
  info(driver: string): { readonly driverVersion: number; readonly devices: readonly CudaDeviceInfo[] };
  /** Hash of the headers that kernels must have been built from. */
  readonly kernelInterface: string;
  /** Most `tailTokens` of caches with compressed layers. */
  mostTailTokens(headDim: number): number;
  attribute(driver: string, ordinal: number, attribute: number): number;
  readonly Device: new (driver: string, ordinal: number, memoryLimit: number) => AddonDevice;
  readonly Memory: new (device: AddonDevice, bytes: number, shape: string) => AddonMemory;
  readonly Module: new (device: AddonDevice, image: Uint8Array, label: string) => AddonModule;
  readonly Kernel: new (module: AddonModule, name: string) => AddonKernel;
  readonly Stream: new (device: AddonDevice) => AddonStream;
  readonly Kernels: new (device: AddonDevice, images: Readonly<Record<string, Uint8Array>>) => AddonKernels;
  readonly Tables: new (kernels: AddonKernels, options: AddonTablesOptions) => AddonTables;
  readonly Encoder: new (kernels: AddonKernels, options: { readonly key: KeyCodecOptions } | { readonly value: ValueCodecOptions }) => AddonEncoder;
  /** With one argument: a fork of a layer. */
  readonly Layer: new (from: AddonTables | AddonLayer, layer?: number) => AddonLayer;
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
    throw new KvquantError("NATIVE_UNAVAILABLE", `@kvquant/cuda: expected an addon for ${process.platform}-${process.arch}, got none (${failure.message.split("\n")[0]}); build it with "npm --prefix packages/cuda run build:addon" in a checkout, or "npm rebuild @kvquant/cuda" where it is installed (C++20 compiler, make, Python 3; no CUDA)`, { cause: failure });
  }
}

/** The driver to open: the file `KVQUANT_CUDA_DRIVER` names, else the system's `libcuda.so.1`. */
export function driverPath(): string {
  const named = process.env.KVQUANT_CUDA_DRIVER;
  return named === undefined || named === "" ? "libcuda.so.1" : named;
}
