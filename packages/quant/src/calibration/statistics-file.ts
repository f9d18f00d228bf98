/** The file form of calibration statistics. */

import { checkRopeConfig } from "@kvquant/rope";
import { check, checkCacheShape, checkInteger, PAGE_TOKENS } from "@kvquant/spec";
import { decodeContainer, encodeContainer } from "../artifact/container.js";
import type { ContainerArray, ContainerKind } from "../artifact/container.js";
import { corrupt } from "../corrupt.js";
import type { Geometry } from "../geometry.js";
import { CHANNEL_BINS } from "./channel-histograms.js";
import type { HeldOutPage, ScaledHalves } from "./held-out-page.js";
import type { CalibrationStatistics, KeyStatistics, LayerStatistics, NormalisedHistogram, ValueStatistics } from "./layer-statistics.js";
import { checkSensitivity } from "./layer-window.js";
import { NORMALISED_BINS } from "./normalised-histogram.js";

const KIND: ContainerKind = { magic: "KVQS", version: 1, name: "calibration statistics" };

/** What the header says of a held-out page. */
interface PageHeader {
  readonly window: number;
  readonly position: number;
  /** Scales of keys, values and, with gradients, theirs. */
  readonly scales: readonly number[];
}

interface LayerHeader {
  readonly tokens: number;
  readonly fractions: readonly number[];
  readonly heldOut: readonly PageHeader[];
}

type Header = Omit<CalibrationStatistics, "layers"> & { readonly layers: readonly LayerHeader[] };

/** Bytes of statistics; layout in artifact/container.ts. Not compressed. */
export function encodeStatistics(statistics: CalibrationStatistics): Uint8Array {
  const { shape, rope, sinkTokens, sensitivity, windows } = statistics;
  const layers: LayerHeader[] = [];
  const arrays: ContainerArray[] = [];
  for (const { tokens, key, value, heldOut } of statistics.layers) {
    const { channels } = key;
    arrays.push(key.minimum, key.maximum, key.rotatedMinimum, key.rotatedMaximum);
    arrays.push(channels.lower, channels.width, channels.count, channels.weight, channels.weightedSum, ...histogramArrays(key.pages));
    if (key.feedback) arrays.push(key.feedback);
    for (const { histogram } of value.fractions) arrays.push(...histogramArrays(histogram));
    arrays.push(value.rotatedMean, value.rotatedDeviation);
    const pages = heldOut.map((page) => {
      const parts = [page.keys, page.values, ...(page.keyGradients && page.valueGradients ? [page.keyGradients, page.valueGradients] : [])];
      arrays.push(...parts.map((part) => part.bits));
      return { window: page.window, position: page.position, scales: parts.map((part) => part.scale) };
    });
    layers.push({ tokens, fractions: value.fractions.map((entry) => entry.fraction), heldOut: pages });
  }
  const header: Header = { shape, rope, sinkTokens, sensitivity, windows, layers };
  return encodeContainer(KIND, { header, arrays });
}

/**
 * Reads what `encodeStatistics` wrote; equal in every bit.
 * @throws CORRUPT_DATA for bytes that are cut off, changed or no statistics
 * @throws UNSUPPORTED for a newer version
 */
export function decodeStatistics(bytes: Uint8Array): CalibrationStatistics {
  const { header, arrays } = decodeContainer(KIND, bytes);
  try {
    return readStatistics(header as Header, arrays);
  } catch (error) {
    throw corrupt(KIND.name, "a description of statistics", error instanceof Error ? error.message : error, error);
  }
}

function readStatistics(header: Header, arrays: readonly ContainerArray[]): CalibrationStatistics {
  const { shape, rope, sinkTokens, sensitivity, windows } = header;
  checkCacheShape(shape);
  checkRopeConfig(rope);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0, maximum: 64 });
  checkInteger("windows", windows, { minimum: 1 });
  checkSensitivity("sensitivity", sensitivity);
  check(header.layers.length === shape.layers, "layers", `${shape.layers} entries`, header.layers.length);
  const geometry: Geometry = { kvHeads: shape.kvHeads, headDim: shape.headDim, rotaryDim: rope.rotaryDim };
  const reader = arrayReader(arrays);
  const layers = header.layers.map((layer): LayerStatistics => {
    checkInteger("tokens", layer.tokens, { minimum: 1 });
    const key = readKey(reader, geometry, sensitivity !== "none");
    const value = readValue(reader, geometry, layer.fractions);
    const heldOut = layer.heldOut.map((page) => readPage(reader, geometry, page, sensitivity === "fisher"));
    return { geometry, sensitivity, tokens: layer.tokens, key, value, heldOut };
  });
  reader.finish();
  return { shape, rope, sinkTokens, sensitivity, windows, layers };
}

interface ArrayReader {
  float32(length: number): Float32Array;
  float64(length: number): Float64Array;
  uint32(length: number): Uint32Array;
  uint16(length: number): Uint16Array;
  finish(): void;
}

/** Hands arrays out in the order they were written, checking type and length. */
function arrayReader(arrays: readonly ContainerArray[]): ArrayReader {
  let index = 0;
  const next = <T extends ContainerArray>(type: new (length: number) => T, length: number): T => {
    const array = arrays[index++];
    check(array instanceof type && array.length === length, `array ${index - 1}`, `${type.name} of ${length}`, array === undefined ? "none" : `${array.constructor.name} of ${array.length}`);
    return array as T;
  };
  return {
    float32: (length) => next(Float32Array, length),
    float64: (length) => next(Float64Array, length),
    uint32: (length) => next(Uint32Array, length),
    uint16: (length) => next(Uint16Array, length),
    finish: () => check(index === arrays.length, "arrays", `${index}`, arrays.length),
  };
}

function readKey(reader: ArrayReader, { kvHeads, headDim }: Geometry, withFeedback: boolean): KeyStatistics {
  const channels = kvHeads * headDim;
  const size = channels * CHANNEL_BINS;
  const range = { minimum: reader.float32(channels), maximum: reader.float32(channels), rotatedMinimum: reader.float32(channels), rotatedMaximum: reader.float32(channels) };
  return {
    ...range,
    channels: { channels, lower: reader.float64(channels), width: reader.float64(channels), count: reader.uint32(size), weight: reader.float32(size), weightedSum: reader.float32(size) },
    pages: readHistogram(reader),
    ...(withFeedback && { feedback: reader.float64(kvHeads * headDim * headDim) }),
  };
}

function readValue(reader: ArrayReader, { kvHeads, headDim }: Geometry, fractions: readonly number[]): ValueStatistics {
  const columns = kvHeads * headDim;
  return {
    fractions: fractions.map((fraction) => ({ fraction, histogram: readHistogram(reader) })),
    rotatedMean: reader.float64(columns),
    rotatedDeviation: reader.float64(columns),
  };
}

function readPage(reader: ArrayReader, { kvHeads, headDim }: Geometry, page: PageHeader, gradients: boolean): HeldOutPage {
  checkInteger("held-out page: window", page.window, { minimum: 0 });
  checkInteger("held-out page: position", page.position, { minimum: 0 });
  check(page.scales.length === (gradients ? 4 : 2), "held-out page: scales", gradients ? "4" : "2", page.scales.length);
  for (const scale of page.scales) check(Number.isFinite(scale), "held-out page: scale", "a number", scale);
  const [keys, values, keyGradients, valueGradients] = page.scales.map((scale): ScaledHalves => ({ bits: reader.uint16(PAGE_TOKENS * kvHeads * headDim), scale }));
  return { window: page.window, position: page.position, keys: keys!, values: values!, ...(keyGradients && valueGradients && { keyGradients, valueGradients }) };
}

function histogramArrays({ weighted, plain }: NormalisedHistogram): Float64Array[] {
  return [weighted.weight, weighted.weightedSum, plain.weight, plain.weightedSum];
}

function readHistogram(reader: ArrayReader): NormalisedHistogram {
  const read = (): NormalisedHistogram["plain"] => ({ bins: NORMALISED_BINS, minimum: -1, maximum: 1, weight: reader.float64(NORMALISED_BINS), weightedSum: reader.float64(NORMALISED_BINS) });
  return { weighted: read(), plain: read() };
}
