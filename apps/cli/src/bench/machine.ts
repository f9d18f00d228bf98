/** What a benchmark ran on. */

import { backendInfo, createThreads } from "@kvquant/cpu";
import type { Isa } from "@kvquant/cpu";
import { KvquantError } from "@kvquant/spec";

/** Named beside every figure. */
export interface Machine {
  /** As the operating system names it. */
  readonly cpu: string;
  /** Instruction set of the kernels. */
  readonly isa: Isa;
}

const bandwidthBytes = 512 << 20;

/** @throws NATIVE_UNAVAILABLE when there are no kernels to measure */
export function describeMachine(): Machine {
  const { available, reason, cpu, isa } = backendInfo();
  if (!available || isa === undefined) throw new KvquantError("NATIVE_UNAVAILABLE", `bench: expected the native backend, which it measures, got none: ${reason}`);
  return { cpu, isa };
}

/** Gigabytes a second that each number of threads reads from memory, by that number. */
export async function measureBandwidth(threadCounts: readonly number[]): Promise<Record<string, number>> {
  const bandwidth: Record<string, number> = {};
  for (const count of threadCounts) bandwidth[count] = await createThreads(count).readBandwidth(bandwidthBytes);
  return bandwidth;
}

/** The line above a table. */
export function formatMachine({ cpu, isa }: Machine, bandwidth: Readonly<Record<string, number>> = {}): string {
  const reads = Object.entries(bandwidth).map(([threads, speed]) => `${speed.toFixed(1)} GB/s on ${threads} thread${threads === "1" ? "" : "s"}`);
  return `${cpu}, ${isa}${reads.length === 0 ? "" : `; reads ${reads.join(", ")}`}`;
}
