/** Keeps finished units of a suite on disk, so that a stopped run can go on where it was. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "@kvquant/model";
import { readIfThere } from "../read-if-there.js";
import { sha256 } from "../sha256.js";

/** What a unit's result depends on: plain data, all of it part of the file's name. `part` is also its folder. */
export interface UnitKey {
  readonly part: string;
  readonly [name: string]: string | number | boolean | undefined;
}

/** Reads and writes units. */
export interface UnitStore {
  /** The stored value; undefined when there is none or it is damaged, which is said. */
  read(key: UnitKey): Promise<unknown>;
  write(key: UnitKey, value: unknown): Promise<void>;
}

/** Raised when units change their meaning: since 2, bytes of caches have tables in them whatever attends. */
const VERSION = 2;

interface UnitFile {
  readonly version: number;
  readonly key: UnitKey;
  /** SHA-256 of the value's JSON text. */
  readonly sha256: string;
  readonly value: unknown;
}

/** A store that keeps nothing. */
export const noUnits: UnitStore = { read: async () => undefined, write: async () => {} };

/** How a store is opened. */
export interface UnitStoreOptions {
  /** Whether units are read: all of them, or those written since a moment. */
  readonly resume: boolean | Date;
  readonly onNotice?: ((message: string) => void) | undefined;
}

/** A store in `folder`: a JSON file a unit, named after the SHA-256 of its key, written aside and renamed. Without `resume` it only writes. */
export function openUnitStore(folder: string, { resume, onNotice = () => {} }: UnitStoreOptions): UnitStore {
  const pathOf = (key: UnitKey): string => join(folder, key.part, `${sha256(keyText(key)).slice(0, 32)}.json`);
  return {
    async read(key) {
      if (resume === false) return undefined;
      const path = pathOf(key);
      const text = await readIfThere(path);
      if (text === undefined || (resume !== true && (await stat(path)).mtime < resume)) return undefined;
      const value = verify(text.toString(), key);
      if (value === undefined) onNotice(`stored unit ${path} is damaged; computing it again`);
      return value;
    },
    async write(key, value) {
      const file: UnitFile = { version: VERSION, key, sha256: sha256(JSON.stringify(value)), value };
      await writeFileAtomically(pathOf(key), Buffer.from(`${JSON.stringify(file)}\n`));
    },
  };
}

function keyText(key: UnitKey): string {
  const entries = Object.entries(key).filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([VERSION, entries]);
}

/** The value when file and key are what was asked for and undamaged. */
function verify(text: string, key: UnitKey): unknown {
  let file: Partial<UnitFile> | null;
  try {
    file = JSON.parse(text) as Partial<UnitFile> | null;
  } catch {
    return undefined; // Damaged; the caller says so.
  }
  if (file?.version !== VERSION || typeof file.key !== "object" || file.key === null || file.value === undefined || keyText(file.key) !== keyText(key)) return undefined;
  return sha256(JSON.stringify(file.value)) === file.sha256 ? file.value : undefined;
}
