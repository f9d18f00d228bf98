/** Settings that can also be given by flag and environment; the rest is for the file. */

import { Option } from "commander";
import type { Command } from "commander";

/** How the text of a flag or variable becomes a value; one that cannot be read stays text, and the schema says what it expected. */
type Kind = "text" | "number" | "list" | "switch";

/** One setting and its names. */
export interface Setting {
  readonly path: readonly (string | number)[];
  /** As commander writes it. */
  readonly flag: string;
  readonly variable: string;
  readonly kind: Kind;
  readonly help: string;
}

const model = (field: string, flag: string, rest: Omit<Setting, "path" | "flag">): Setting => ({ path: ["models", 0, field], flag, ...rest });

/** Flags win over variables, those over the file. Settings of a model are for a configuration of one model. */
export const settings: readonly Setting[] = [
  { path: ["host"], flag: "--host <address>", variable: "KVQUANT_HOST", kind: "text", help: "address to listen on (default: 127.0.0.1)" },
  { path: ["port"], flag: "-p, --port <number>", variable: "KVQUANT_PORT", kind: "number", help: "port to listen on, 0 for a free one (default: 8080)" },
  { path: ["apiKeys"], flag: "--api-key <keys>", variable: "KVQUANT_API_KEYS", kind: "list", help: "keys that requests must bring one of, divided by commas; better in the environment, where other users do not see them" },
  { path: ["origins"], flag: "--origins <list>", variable: "KVQUANT_ORIGINS", kind: "list", help: "web pages of these origins may call the server, * for all" },
  model("source", "-m, --model <name>", { variable: "KVQUANT_MODEL", kind: "text", help: "model: a path, smollm2, tiny, hf:owner/repo/file.gguf (default: smollm2)" }),
  model("name", "--name <name>", { variable: "KVQUANT_MODEL_NAME", kind: "text", help: "what requests call the model (default: as --model)" }),
  // KVQUANT_CACHE has always been the folder of downloads.
  model("cache", "-c, --cache <name>", { variable: "KVQUANT_MODEL_CACHE", kind: "text", help: "fp16, a preset, kvq:<bits> or a .kvq file (default: kvq4)" }),
  model("quantizers", "--quantizer <files>", { variable: "KVQUANT_QUANTIZERS", kind: "list", help: "modules with quantizers of your own, divided by commas" }),
  model("chatTemplate", "--chat-template <file>", { variable: "KVQUANT_CHAT_TEMPLATE", kind: "text", help: "Jinja template instead of the model's, or plain" }),
  model("context", "--context <tokens>", { variable: "KVQUANT_CONTEXT", kind: "number", help: "most tokens of a prompt and its answer (default: the model's)" }),
  model("cacheBytes", "--cache-bytes <size>", { variable: "KVQUANT_CACHE_BYTES", kind: "text", help: "memory of all caches together, such as 512MiB (default: 1 GiB)" }),
  model("threads", "--threads <count>", { variable: "KVQUANT_THREADS", kind: "number", help: "threads of the model (default: all processors)" }),
  model("tail", "--tail <tokens>", { variable: "KVQUANT_TAIL", kind: "number", help: "newest tokens kept exact (default: 64)" }),
  model("sinks", "--sinks <tokens>", { variable: "KVQUANT_SINKS", kind: "number", help: "first tokens kept exact (default: 1)" }),
  model("engine", "--engine <kind>", { variable: "KVQUANT_ENGINE", kind: "text", help: "auto, native or reference (default: auto)" }),
  model("products", "--products <kind>", { variable: "KVQUANT_PRODUCTS", kind: "text", help: "of the native engine: fast or exact (default: fast)" }),
  model("maxSequences", "--max-sequences <count>", { variable: "KVQUANT_MAX_SEQUENCES", kind: "number", help: "requests computed at once (default: 32)" }),
  model("maxWaiting", "--max-waiting <count>", { variable: "KVQUANT_MAX_WAITING", kind: "number", help: "requests that wait at once (default: 256)" }),
  model("prefixReuse", "--prefix-reuse <on>", { variable: "KVQUANT_PREFIX_REUSE", kind: "switch", help: "share the pages of equal beginnings: true or false (default: true)" }),
  { path: ["store", "path"], flag: "--store <folder>", variable: "KVQUANT_STORE_PATH", kind: "text", help: "keep pages on disk here, so that prefixes and sessions survive a restart" },
  { path: ["store", "bytes"], flag: "--store-bytes <size>", variable: "KVQUANT_STORE_BYTES", kind: "text", help: "most bytes on disk (default: 4 GiB)" },
  { path: ["store", "url"], flag: "--store-url <address>", variable: "KVQUANT_STORE_URL", kind: "text", help: "share pages with other servers through this Valkey or Redis" },
  { path: ["limits", "bodyBytes"], flag: "--body-bytes <size>", variable: "KVQUANT_BODY_BYTES", kind: "text", help: "longest request body (default: 4 MiB)" },
  { path: ["limits", "requestSeconds"], flag: "--request-seconds <number>", variable: "KVQUANT_REQUEST_SECONDS", kind: "number", help: "longest time of a request (default: 600)" },
  { path: ["drainSeconds"], flag: "--drain-seconds <number>", variable: "KVQUANT_DRAIN_SECONDS", kind: "number", help: "after SIGTERM, time for requests to end (default: 30)" },
  { path: ["fidelity", "share"], flag: "--fidelity-share <share>", variable: "KVQUANT_FIDELITY_SHARE", kind: "number", help: "share of requests scored again against fp16 when idle (default: 0.02)" },
  { path: ["fidelity", "threshold"], flag: "--fidelity-threshold <nats>", variable: "KVQUANT_FIDELITY_THRESHOLD", kind: "number", help: "mean KL divergence that is warned of (default: 0.1)" },
  { path: ["offline"], flag: "--offline", variable: "KVQUANT_OFFLINE", kind: "switch", help: "only models already on this machine" },
  { path: ["log", "level"], flag: "--log-level <level>", variable: "KVQUANT_LOG_LEVEL", kind: "text", help: "debug, info, warn, error or silent (default: info)" },
  { path: ["log", "format"], flag: "--log-format <format>", variable: "KVQUANT_LOG_FORMAT", kind: "text", help: "json, text or auto: text in a terminal (default: auto)" },
];

/** Names the variable of the configuration file. */
export const configurationVariable = "KVQUANT_CONFIG";

/** Adds a flag for each setting, and `--config`. */
export function addServerOptions(command: Command): Command {
  command.option("--config <file>", `configuration as JSON (${configurationVariable})`);
  for (const { flag, variable, help } of settings) command.addOption(new Option(flag, `${help} (${variable})`));
  return command;
}

/** The name under which commander keeps a flag's value. */
export function optionName(setting: Setting): string {
  return new Option(setting.flag).attributeName();
}

/** The value of a text. */
export function readSetting({ kind }: Setting, given: unknown): unknown {
  if (typeof given !== "string") return given;
  if (kind === "list") return given.split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (kind === "number") return given.trim() !== "" && Number.isFinite(Number(given)) ? Number(given) : given;
  if (kind === "switch") return switchValues[given.toLowerCase()] ?? given;
  return given;
}

const switchValues: Readonly<Record<string, boolean>> = { true: true, "1": true, yes: true, on: true, false: false, "0": false, no: false, off: false };
