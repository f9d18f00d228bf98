/** What every parser has to obey: it returns or throws a KvquantError, soon, and with memory in proportion to its input. */

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

/** Processor time of one input; a parser of small inputs that needs more hangs. */
const MAXIMUM_SECONDS = 1;
/** Memory an input may take before its own size counts. */
const FREE_BYTES = 64 * 2 ** 20;
const BYTES_EACH = 4096;

/** Runs a parser on an input of `size` bytes; KvquantErrors are its right to refuse. */
export function obey(size: number, parse: () => void): void {
  const check = startMeter(size);
  try {
    parse();
  } catch (error) {
    allow(error);
  }
  check();
}

/** `obey` for a parser that waits for files. */
export async function obeyAsync(size: number, parse: () => Promise<void>): Promise<void> {
  const check = startMeter(size);
  try {
    await parse();
  } catch (error) {
    allow(error);
  }
  check();
}

function allow(error: unknown): void {
  if (!KvquantError.isInstance(error)) throw error;
}

/** Garbage collected meanwhile makes the figure smaller, never larger: what this finds is real. */
function startMeter(size: number): () => void {
  const began = process.cpuUsage();
  const before = bytesInUse();
  return () => {
    const { user, system } = process.cpuUsage(began);
    const seconds = (user + system) / 1e6;
    if (seconds > MAXIMUM_SECONDS) throw new Error(`expected an answer within ${MAXIMUM_SECONDS} s, got one after ${seconds.toFixed(1)} s for ${size} bytes`);
    const grown = bytesInUse() - before;
    if (grown > FREE_BYTES + BYTES_EACH * size) throw new Error(`expected at most ${FREE_BYTES + BYTES_EACH * size} bytes of memory, got ${grown} for ${size} bytes of input`);
  };
}

function bytesInUse(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}
