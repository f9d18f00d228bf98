/** Keeps the fp16 results of windows on disk: they cost a forward pass and never change. */

import { join } from "node:path";
import { writeFileAtomically } from "@kvquant/model";
import { fingerprintTokens } from "./fingerprint-tokens.js";
import { readIfThere } from "./read-if-there.js";
import { sha256 } from "./sha256.js";

/** One window through the exact cache. */
export interface ReferenceResult {
  /** Final normalised hidden states `[rows, width]`. */
  readonly hidden: Float32Array;
  /** Seconds that the forward pass took when it was run. */
  readonly seconds: number;
}

/** What a result depends on. */
export interface ReferenceKey {
  readonly fingerprint: string;
  readonly engine: string;
  readonly window: Int32Array;
  /** Columns of the hidden states. */
  readonly width: number;
}

/** Reads and writes results in one folder. */
export interface ReferenceStore {
  /** The stored result; undefined when there is none or it is damaged, which is said to `onNotice`. */
  read(key: ReferenceKey): Promise<ReferenceResult | undefined>;
  write(key: ReferenceKey, result: ReferenceResult): Promise<void>;
}

/** Raised when the numbers or the files change their meaning. */
const VERSION = 1;

interface Description {
  readonly version: number;
  readonly fingerprint: string;
  readonly engine: string;
  readonly tokens: string;
  readonly rows: number;
  readonly width: number;
  readonly seconds: number;
  /** SHA-256 of the numbers' bytes. */
  readonly sha256: string;
}

/**
 * A store in `folder`, made when first written to. A result is two files, named after the SHA-256 of model fingerprint, engine id and
 * tokens (the fp16 cache has no sinks to depend on): the hidden states as raw float32, little-endian, and a JSON file that describes
 * them and is written last.
 */
export function openReferenceStore(folder: string, onNotice: (message: string) => void = () => {}): ReferenceStore {
  const paths = (name: string) => ({ numbers: join(folder, `${name}.f32`), description: join(folder, `${name}.json`) });
  return {
    async read(key) {
      const expected = describe(key);
      const path = paths(expected.name);
      const text = await readIfThere(path.description);
      if (text === undefined) return undefined;
      const bytes = await readIfThere(path.numbers);
      const seconds = bytes === undefined ? undefined : verify(text.toString(), bytes, expected);
      if (bytes === undefined || seconds === undefined) {
        onNotice(`stored fp16 results ${path.description} are damaged; computing them again`);
        return undefined;
      }
      const hidden = new Float32Array(bytes.length / 4);
      Buffer.from(hidden.buffer).set(bytes);
      return { hidden, seconds };
    },
    async write(key, { hidden, seconds }) {
      const { name, ...description } = describe(key);
      const path = paths(name);
      const bytes = Buffer.from(hidden.buffer, hidden.byteOffset, hidden.byteLength);
      await writeFileAtomically(path.numbers, bytes);
      const full: Description = { ...description, seconds, sha256: sha256(bytes) };
      await writeFileAtomically(path.description, Buffer.from(`${JSON.stringify(full, undefined, 1)}\n`));
    },
  };
}

function describe({ fingerprint, engine, window, width }: ReferenceKey): Omit<Description, "seconds" | "sha256"> & { readonly name: string } {
  const tokens = fingerprintTokens([window]);
  const name = sha256(Buffer.from(JSON.stringify([VERSION, fingerprint, engine, tokens, width]))).slice(0, 32);
  return { name, version: VERSION, fingerprint, engine, tokens, rows: window.length, width };
}

/** The recorded seconds when description and bytes are what was asked for and undamaged. */
function verify(text: string, bytes: Buffer, expected: ReturnType<typeof describe>): number | undefined {
  let found: Partial<Description> | null;
  try {
    found = JSON.parse(text) as Partial<Description> | null;
  } catch {
    return undefined; // Damaged; the caller says so.
  }
  const same = (["version", "fingerprint", "engine", "tokens", "rows", "width"] as const).every((name) => found?.[name] === expected[name]);
  if (!same || typeof found?.seconds !== "number") return undefined;
  return bytes.length === 4 * expected.rows * expected.width && sha256(bytes) === found.sha256 ? found.seconds : undefined;
}
