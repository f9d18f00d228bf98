/** What every option costs and harms in every layer: the planner's price list. */

import { decodeScaledHalves, quantizerTableBytes } from "@kvquant/quant";
import type { CalibrationStatistics, HeldOutPage, LayerStatistics } from "@kvquant/quant";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, QuantizerArtifact, Side } from "@kvquant/spec";
import { throwIfCancelled } from "../throw-if-cancelled.js";
import type { PlanOption } from "./plan-option.js";

/** One option in one place. */
export interface Price {
  readonly layer: number;
  readonly side: Side;
  /** Id of the option. */
  readonly option: string;
  /** Width of its codes. */
  readonly codeBits: number;
  /** True bits a value: bytes of full pages times 8 over the values in them. */
  readonly bitsPerValue: number;
  /** Mean bytes of a full page's block. */
  readonly pageBytes: number;
  /** Bytes of its fitted tables. */
  readonly tableBytes: number;
  /** Predicted KL divergence that this tensor adds, in nats a token. */
  readonly damage: number;
  /** Standard error of `damage` over the held-out pages; undefined with fewer than two. */
  readonly damageError: number | undefined;
}

/** How prices are found. */
export interface PricingOptions {
  readonly options: readonly PlanOption[];
  /** Opens a fitted quantizer; native codecs are several times faster. Default: `option.quantizer.open`. */
  readonly openCodec?: ((artifact: QuantizerArtifact, option: PlanOption) => BlockCodec) | undefined;
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number; readonly layer: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Prices all options of all layers on the calibration's held-out pages: `damage = 1/2 * mean over tokens of (g . e)^2`, where g is the gradient of the
 * window's summed loss at a token's keys or values over all KV heads, and e the error of encoding and decoding. It is the second-order term of the
 * KL divergence with the Fisher matrix of single tokens; errors of different tokens and tensors are taken as independent, so that damages add up.
 * Yields to the event loop between options.
 * @throws UNSUPPORTED for statistics without gradients or held-out pages, CANCELLED
 */
export async function priceOptions(statistics: CalibrationStatistics, { options, openCodec, onProgress, signal }: PricingOptions): Promise<Price[]> {
  const prices: Price[] = [];
  const total = statistics.layers.length * options.length;
  for (const [layer, own] of statistics.layers.entries()) {
    const pages = { key: openPages(own, "key"), value: openPages(own, "value") };
    for (const option of options) {
      throwIfCancelled(signal, "pricing");
      const artifact = option.quantizer.fit(own);
      const codec = openCodec?.(artifact, option) ?? option.quantizer.open(artifact);
      const { geometry } = own;
      prices.push({ layer, side: option.side, option: option.id, codeBits: option.bits, tableBytes: quantizerTableBytes(artifact), ...measureDamage(codec, pages[option.side], geometry.kvHeads * geometry.headDim) });
      onProgress?.({ done: prices.length, total, layer });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return prices;
}

/** A held-out page of one side, `[64, columns]` each. */
interface OpenPage {
  readonly values: Float32Array;
  readonly gradients: Float32Array;
}

function openPages({ heldOut }: LayerStatistics, side: Side): OpenPage[] {
  if (heldOut.length === 0) throw new KvquantError("UNSUPPORTED", "planner: expected held-out pages, got a calibration of windows shorter than 8 pages of 64 tokens; calibrate with --length 513 or more");
  return heldOut.map((page: HeldOutPage) => {
    const [values, gradients] = side === "key" ? [page.keys, page.keyGradients] : [page.values, page.valueGradients];
    if (gradients === undefined) throw new KvquantError("UNSUPPORTED", "planner: expected gradients of the held-out pages, got a calibration without; calibrate with --sensitivity fisher");
    return { values: decodeScaledHalves(values), gradients: decodeScaledHalves(gradients) };
  });
}

/** Encodes and decodes the pages. */
function measureDamage(codec: BlockCodec, pages: readonly OpenPage[], columns: number): Pick<Price, "bitsPerValue" | "pageBytes" | "damage" | "damageError"> {
  const decoded = new Float32Array(PAGE_TOKENS * columns);
  let bytes = 0;
  const damages = pages.map(({ values, gradients }) => {
    const block = codec.encode({ data: values, rows: PAGE_TOKENS, cols: columns });
    codec.decode(block, { data: decoded, rows: PAGE_TOKENS, cols: columns });
    bytes += block.bytes.length;
    return pageDamage(values, decoded, gradients, columns);
  });
  const pageBytes = bytes / pages.length;
  const damage = damages.reduce((sum, value) => sum + value, 0) / pages.length;
  const spread = damages.reduce((sum, value) => sum + (value - damage) ** 2, 0);
  return {
    bitsPerValue: (8 * pageBytes) / (PAGE_TOKENS * columns),
    pageBytes,
    damage,
    damageError: pages.length < 2 ? undefined : Math.sqrt(spread / (pages.length * (pages.length - 1))),
  };
}

/** `1/2 * mean over the rows of (gradients . (decoded - values))^2`, all `[rows, columns]`. */
export function pageDamage(values: Float32Array, decoded: Float32Array, gradients: Float32Array, columns: number): number {
  const rows = values.length / columns;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    let product = 0;
    for (let place = row * columns; place < (row + 1) * columns; place++) product += gradients[place]! * (decoded[place]! - values[place]!);
    sum += product * product;
  }
  return sum / (2 * rows);
}
