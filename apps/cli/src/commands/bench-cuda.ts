/** `kvquant bench cuda`: the kernels on a GPU, checked first, against fp16 flash-decode and against cuBLAS. */

import { Command } from "commander";
import { cudaInfo } from "@kvquant/cuda";
import { KvquantError } from "@kvquant/spec";
import { buildCudaProgram, createProgramRunner, findCheckout, runCudaParts } from "../bench/cuda-program.js";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { addCommonOptions } from "../options.js";
import type { CommonOptions } from "../options.js";

export function benchCudaCommand(io: Io): Command {
  const command = new Command("cuda")
    .description("Checks the CUDA kernels against float64 on the GPU at hand, then times the paper's matrix-vector products against cuBLAS, and decode attention against fp16 flash-decode. Needs a checkout of the project; nvcc comes from PyPI where it is missing.")
    .argument("[shape]", "only attention shapes whose name begins so, such as llama7b");
  return addCommonOptions(command).action((shape: string | undefined, options: CommonOptions) => benchCuda(shape, options, io));
}

async function benchCuda(shape: string | undefined, options: CommonOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const { available, reason, devices } = cudaInfo();
  if (!available) throw new KvquantError("NATIVE_UNAVAILABLE", `bench cuda: expected a GPU, got none: ${reason}`);
  const root = findCheckout();
  const run = createProgramRunner(root, context.signal);
  const program = await context.progress.run("compiling the kernels for this GPU", () => buildCudaProgram(root, run));
  const results = await runCudaParts(
    async (part, onLine) =>
      context.progress.run(part, (update) =>
        run(program, part === "attend" && shape !== undefined ? [part, shape] : [part], (line) => {
          onLine(line);
          update(0, line);
        }),
      ),
    // With --json on standard error: a part that fails must not take with it what those before it measured.
    (text) => (context.json ? io.stderr : io.stdout).write(text),
    devices[0]?.name ?? "the GPU",
  );
  context.printJson({ device: devices[0], ...results });
}
