/** One onnxruntime session of a graph whose weights are inputs, so that all layers share it and nothing is held twice. */

import { availableParallelism } from "node:os";
import * as ort from "onnxruntime-node";
import { KvquantError } from "@kvquant/spec";

// Read by the library when its environment is created, which is at the first session.
process.env["ORT_DISABLE_TELEMETRY"] ??= "1";

/** A float tensor over memory the caller owns; runs read and write that memory in place. */
export type FloatTensor = ort.Tensor;

/** Wraps `data` as a tensor without copying. */
export function floatTensor(data: Float32Array, dimensions: readonly number[]): FloatTensor {
  return new ort.Tensor("float32", data, dimensions);
}

/** A compiled graph. */
export interface Session {
  /** Runs with named inputs; outputs are written into the given tensors in place. */
  run(inputs: Readonly<Record<string, FloatTensor>>, outputs: Readonly<Record<string, FloatTensor>>): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Compiles a serialised graph. Threads never spin: a spinning worker costs far more than it saves on a shared machine.
 * @throws NATIVE_UNAVAILABLE when onnxruntime refuses the graph
 */
export async function createSession(model: Uint8Array, threads: number = availableParallelism()): Promise<Session> {
  const noSpinning = { intra_op: { allow_spinning: "0" }, inter_op: { allow_spinning: "0" } };
  let session: ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(model, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
      extra: { session: noSpinning },
    });
  } catch (cause) {
    throw new KvquantError("NATIVE_UNAVAILABLE", `onnxruntime: expected a session, got "${(cause as Error).message}"`, { cause });
  }
  return {
    async run(inputs, outputs) {
      await session.run(inputs, outputs);
    },
    async dispose() {
      await session.release();
    },
  };
}
