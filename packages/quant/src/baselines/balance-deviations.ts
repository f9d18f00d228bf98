/** Scales of rows and columns that bring a matrix to equal standard deviations along both. */

/** Passes over columns and rows. */
const PASSES = 16;

/** Bounds of a deviation before its logarithm is taken. */
const DEVIATION = { minimum: 1e-3, maximum: 1e3 };

/** Bounds of the logarithm of a scale. */
const LOGARITHM = { minimum: -0.3, maximum: 10 };

/** A matrix `[rows, cols]` in float64, row after row. */
export interface Tile {
  readonly data: Float64Array;
  readonly rows: number;
  readonly cols: number;
}

/** Scales of a tile; `tile[row][col] / (row scale * column scale)` is balanced. */
export interface TileScales {
  readonly row: Float64Array;
  readonly col: Float64Array;
}

/**
 * Alternates between columns and rows: adds the logarithm of each one's standard deviation (n - 1 in the denominator, clipped to 1e-3 .. 1e3) to that
 * of its scale, clipped to -0.3 .. 10, for 16 passes. Of all states, the first among them unscaled, the one with the least imbalance is returned: largest
 * over smallest deviation of columns, plus the same of rows. A single row or column has no deviations and keeps scale 1.
 * Source: Muller et al. 2026, "KVarN", section on dual-scaling variance normalisation; bounds and passes of its vLLM implementation.
 */
export function balanceDeviations({ data, rows, cols }: Tile): TileScales {
  const logRow = new Float64Array(rows);
  const logCol = new Float64Array(cols);
  const current = data.slice();
  let best = { imbalance: imbalance({ data: current, rows, cols }), row: scales(logRow), col: scales(logCol) };
  for (let pass = 0; pass < PASSES; pass++) {
    if (rows > 1) addDeviations(logCol, columnDeviations({ data: current, rows, cols }));
    rescale(current, data, logRow, logCol);
    if (cols > 1) addDeviations(logRow, rowDeviations({ data: current, rows, cols }));
    rescale(current, data, logRow, logCol);
    const now = imbalance({ data: current, rows, cols });
    if (now <= best.imbalance) best = { imbalance: now, row: scales(logRow), col: scales(logCol) };
  }
  return { row: best.row, col: best.col };
}

/** Largest over smallest deviation of the columns, plus the same of the rows; 2 is balanced. */
export function imbalance(tile: Tile): number {
  return spread(columnDeviations(tile)) + spread(rowDeviations(tile));
}

function spread(deviations: Float64Array): number {
  let smallest = Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const deviation of deviations) {
    smallest = Math.min(smallest, deviation);
    largest = Math.max(largest, deviation);
  }
  return largest / Math.max(smallest, 1e-8);
}

function scales(logarithms: Float64Array): Float64Array {
  return logarithms.map((logarithm) => Math.exp(logarithm));
}

function addDeviations(logarithms: Float64Array, deviations: Float64Array): void {
  for (let index = 0; index < logarithms.length; index++) {
    const deviation = Math.min(DEVIATION.maximum, Math.max(DEVIATION.minimum, deviations[index]!));
    logarithms[index] = Math.min(LOGARITHM.maximum, Math.max(LOGARITHM.minimum, logarithms[index]! + Math.log(deviation)));
  }
}

function rescale(out: Float64Array, data: Float64Array, logRow: Float64Array, logCol: Float64Array): void {
  const row = scales(logRow);
  const col = scales(logCol);
  for (let r = 0, index = 0; r < row.length; r++) for (let c = 0; c < col.length; c++, index++) out[index] = data[index]! / (row[r]! * col[c]!);
}

function rowDeviations({ data, rows, cols }: Tile): Float64Array {
  return Float64Array.from({ length: rows }, (_, row) => deviation(data, row * cols, 1, cols));
}

function columnDeviations({ data, rows, cols }: Tile): Float64Array {
  return Float64Array.from({ length: cols }, (_, col) => deviation(data, col, cols, rows));
}

/** Standard deviation of `count` numbers from `start`, `stride` apart; 0 for a single one. */
function deviation(data: Float64Array, start: number, stride: number, count: number): number {
  let mean = 0;
  for (let index = 0; index < count; index++) mean += data[start + index * stride]! / count;
  let sum = 0;
  for (let index = 0; index < count; index++) sum += (data[start + index * stride]! - mean) ** 2;
  return count > 1 ? Math.sqrt(sum / (count - 1)) : 0;
}
