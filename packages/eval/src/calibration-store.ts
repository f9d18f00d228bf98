/** Keeps calibration statistics on disk. */

import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { writeFileAtomically } from "@kvquant/model";
import { decodeStatistics, encodeStatistics } from "@kvquant/quant";
import type { CalibrationStatistics, Sensitivity } from "@kvquant/quant";
import { readIfThere } from "./read-if-there.js";
import { sha256 } from "./sha256.js";

/** What statistics depend on. */
export interface CalibrationKey {
  readonly fingerprint: string;
  readonly textFingerprint: string;
  readonly sequences: number;
  readonly length: number;
  readonly sinkTokens: number;
  readonly sensitivity: Sensitivity;
}

/** A calibration as it is kept. */
export interface StoredCalibration {
  readonly statistics: CalibrationStatistics;
  readonly seconds: number;
  readonly loss: number | undefined;
}

/** Reads and writes statistics in one folder. */
export interface CalibrationStore {
  /** The stored statistics; undefined when there are none or they are damaged, which is said to `onNotice`. */
  read(key: CalibrationKey): Promise<StoredCalibration | undefined>;
  write(key: CalibrationKey, calibration: StoredCalibration): Promise<void>;
}

/** Version of the method: raised when a new run would give other statistics. Part of every file's name. */
export const CALIBRATION_METHOD = 1;

/**
 * A store in `folder`, made when first written to. One gzip file for each key: a line of JSON (the key, seconds, loss, SHA-256 of the
 * rest), a line feed, and the encoded statistics.
 */
export function openCalibrationStore(folder: string, onNotice: (message: string) => void = () => {}): CalibrationStore {
  return {
    async read(key) {
      const path = pathOf(folder, key);
      const packed = await readIfThere(path);
      if (packed === undefined) return undefined;
      try {
        return unpack(await promisify(gunzip)(packed), key);
      } catch (error) {
        onNotice(`stored calibration ${path} cannot be used (${(error as Error).message}); calibrating again`);
        return undefined;
      }
    },
    async write(key, { statistics, seconds, loss }) {
      const body = encodeStatistics(statistics);
      const header = JSON.stringify({ method: CALIBRATION_METHOD, key, seconds, loss, sha256: sha256(body) });
      // Level 1: histograms are mostly zeros, and higher levels take seconds to save little.
      const packed = await promisify(gzip)(Buffer.concat([Buffer.from(`${header}\n`), body]), { level: 1 });
      await writeFileAtomically(pathOf(folder, key), packed);
    },
  };
}

function pathOf(folder: string, key: CalibrationKey): string {
  return join(folder, `${sha256(Buffer.from(canonical(key))).slice(0, 32)}.calibration.gz`);
}

/** The key as text, its fields in fixed order. */
function canonical(key: CalibrationKey): string {
  return JSON.stringify([CALIBRATION_METHOD, key.fingerprint, key.textFingerprint, key.sequences, key.length, key.sinkTokens, key.sensitivity]);
}

/** Throws, with what is wrong, unless everything in the file is as it was written. */
function unpack(bytes: Buffer, key: CalibrationKey): StoredCalibration {
  const end = bytes.indexOf("\n");
  if (end < 0) throw new Error("no header");
  const header = JSON.parse(bytes.toString("utf8", 0, end)) as { key: CalibrationKey; seconds: number; loss?: number; sha256: string };
  const body = bytes.subarray(end + 1);
  if (canonical(header.key) !== canonical(key)) throw new Error("its header names other settings");
  if (sha256(body) !== header.sha256) throw new Error("its checksum is wrong");
  return { statistics: decodeStatistics(body), seconds: header.seconds, loss: header.loss };
}
