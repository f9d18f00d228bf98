/** `kvquant bench`: how fast and how large, measured here. */

import { Command } from "commander";
import type { Io } from "../io.js";
import { benchAttentionCommand } from "./bench-attention.js";
import { benchCapacityCommand } from "./bench-capacity.js";
import { benchCudaCommand } from "./bench-cuda.js";
import { benchEncodeCommand } from "./bench-encode.js";
import { benchMemoryCommand } from "./bench-memory.js";
import { benchModelCommand } from "./bench-model.js";
import { benchServeCommand } from "./bench-serve.js";

export function benchCommand(io: Io): Command {
  const command = new Command("bench").description("Measures the native backend on this machine: attention, whole models, encoding, memory, a server under load, and the kernels of a GPU.");
  for (const create of [benchAttentionCommand, benchModelCommand, benchEncodeCommand, benchMemoryCommand, benchServeCommand, benchCapacityCommand, benchCudaCommand]) command.addCommand(create(io));
  return command;
}
