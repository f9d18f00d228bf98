/** What every parser has to obey: it returns or throws a KvquantError, soon, and with memory in proportion to its input. */

import { tmpdir } from "node:os";
import { getHeapStatistics } from "node:v8";
import { KvquantError } from "@kvquant/spec";

/** A target of the fuzzer: one file of `targets`. */
export interface FuzzTarget {
  /** Small valid inputs that mutation starts from. */
  seeds(): Promise<readonly Uint8Array[]> | readonly Uint8Array[];
  /** Feeds one input to the parser; throws when the law is broken. */
  fuzz(data: Uint8Array): void | Promise<void>;
  /** Longest input, default 4096 bytes. */
  readonly maximumLength?: number;
  /** Words of the format, which libFuzzer tries as they are. */
  readonly words?: readonly string[];
}

/** Of processor time for one input; a parser of small inputs that needs more hangs. */
const MAXIMUM_SECONDS = 1;
/** Memory an input may take before its own size counts. */
const FREE_BYTES = 64 * 2 ** 20;
const BYTES_EACH = 4096;

/** Where targets put files: a folder that is removed after the run, in memory where the system has such a place. */
export const scratchFolder: string = process.env["KVQUANT_FUZZ_SCRATCH"] ?? tmpdir();

/** Runs a parser on an input of `size` bytes; KvquantErrors are its right to refuse. A parser that seems slow is run again, so that a busy machine is not taken for a slow parser. */
export function obey(size: number, parse: () => void): void {
  const attempt = (): void => {
    try {
      parse();
    } catch (error) {
      allow(error);
    }
  };
  const { isSlow, checkMemory } = startMeter(size);
  attempt();
  checkMemory();
  if (!isSlow()) return;
  const began = process.cpuUsage();
  attempt();
  checkTime(process.cpuUsage(began), size, MAXIMUM_SECONDS);
}

/** `obey` for a parser that waits for files. @param seconds of processor time it may take, default 1 */
export async function obeyAsync(size: number, parse: () => Promise<void>, seconds = MAXIMUM_SECONDS): Promise<void> {
  const attempt = async (): Promise<void> => {
    try {
      await parse();
    } catch (error) {
      allow(error);
    }
  };
  const { isSlow, checkMemory } = startMeter(size);
  await attempt();
  checkMemory();
  if (!isSlow()) return;
  const began = process.cpuUsage();
  await attempt();
  checkTime(process.cpuUsage(began), size, seconds);
}

function allow(error: unknown): void {
  if (!KvquantError.isInstance(error)) throw error;
}

/** Garbage collected meanwhile makes the figure smaller, never larger: what this finds is real. */
function startMeter(size: number): { isSlow: () => boolean; checkMemory: () => void } {
  const began = performance.now();
  const before = bytesInUse();
  return {
    isSlow: () => performance.now() - began > MAXIMUM_SECONDS * 1000,
    checkMemory() {
      const most = FREE_BYTES + BYTES_EACH * size;
      const grown = bytesInUse() - before;
      if (grown > most) throw new Error(`expected at most ${most} bytes of memory, got ${grown} for ${size} bytes of input`);
    },
  };
}

function checkTime({ user, system }: NodeJS.CpuUsage, size: number, most: number): void {
  const seconds = (user + system) / 1e6;
  if (seconds > most) throw new Error(`expected an answer within ${most} s, got one after ${seconds.toFixed(1)} s for ${size} bytes`);
}

function bytesInUse(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}
