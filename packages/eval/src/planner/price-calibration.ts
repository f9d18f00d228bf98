/** The price list of a calibration: kept from earlier, or found now. */

import { join } from "node:path";
import { writeFileAtomically } from "@kvquant/model";
import type { Calibration } from "../calibrate-model.js";
import { CALIBRATION_METHOD } from "../calibration-store.js";
import type { CalibrationModel } from "../evaluation-model.js";
import { readIfThere } from "../read-if-there.js";
import { sha256 } from "../sha256.js";
import { priceOptions } from "./price-options.js";
import type { Price, PricingOptions } from "./price-options.js";

/** Where prices are kept, besides how they are found. */
export interface CalibrationPricingOptions extends PricingOptions {
  /** Keeps the prices here, beside the calibration. */
  readonly folder?: string | undefined;
  /** Told in a sentence of what a user should know, such as a stored file found damaged. */
  readonly onNotice?: ((message: string) => void) | undefined;
}

/** Prices, and where they come from. */
export interface CalibrationPrices {
  readonly prices: readonly Price[];
  /** True when they were read from the folder. */
  readonly fromCache: boolean;
}

/** Version of the method: raised when the same calibration would be given other prices. */
const PRICING_METHOD = 2;

/**
 * `priceOptions` of a calibration, or the prices of an earlier run with the same model, calibration and options.
 * @throws what `priceOptions` throws
 */
export async function priceCalibration(model: Pick<CalibrationModel, "fingerprint">, calibration: Calibration, options: CalibrationPricingOptions): Promise<CalibrationPrices> {
  const { textFingerprint, sequences, length, statistics } = calibration;
  const ids = options.options.map(({ side, id }) => `${side} ${id}`);
  const key = JSON.stringify([PRICING_METHOD, CALIBRATION_METHOD, model.fingerprint, textFingerprint, sequences, length, statistics.sinkTokens, statistics.sensitivity, ids]);
  const path = options.folder === undefined ? undefined : join(options.folder, `${sha256(key).slice(0, 32)}.prices.json`);
  const count = statistics.layers.length * ids.length;
  const kept = path === undefined ? undefined : await readPrices(path, { key, count, onNotice: options.onNotice });
  if (kept !== undefined) return { prices: kept, fromCache: true };
  const prices = await priceOptions(statistics, options);
  if (path !== undefined) await writeFileAtomically(path, Buffer.from(`${JSON.stringify({ key, prices })}\n`));
  return { prices, fromCache: false };
}

async function readPrices(path: string, { key, count, onNotice }: { key: string; count: number; onNotice: CalibrationPricingOptions["onNotice"] }): Promise<readonly Price[] | undefined> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) return undefined;
  try {
    const stored = JSON.parse(bytes.toString("utf8")) as { key: string; prices: Price[] };
    if (stored.key !== key) throw new Error("it is of other settings");
    if (!isPriceList(stored.prices, count)) throw new Error("its numbers are not prices");
    return stored.prices;
  } catch (error) {
    onNotice?.(`stored prices ${path} cannot be used (${(error as Error).message}); pricing again`);
    return undefined;
  }
}

function isPriceList(prices: unknown, count: number): boolean {
  const numbers = ["layer", "codeBits", "bitsPerValue", "pageBytes", "tableBytes", "damage"] as const;
  return Array.isArray(prices) && prices.length === count && (prices as Price[]).every((price) => typeof price.option === "string" && numbers.every((name) => Number.isFinite(price[name])));
}
