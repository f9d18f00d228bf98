// Computed in Node and in chromium.
import { csrStore, decodePageOutliers, encodePageOutliers, entriesFromRows, multiplyVector, selectOutside, selectTopK, toCsc } from "@kvquant/sparse";

/** Rows of 5 outliers each. @param {number} cols */
function fill(cols) {
  const store = csrStore({ cols });
  for (let row = 0; row < 64; row++) {
    const values = Float32Array.from({ length: cols }, (_, column) => ((row * 131 + column * 71) % 601) / 64 - 4.5);
    const chosen = selectTopK(values, 5);
    store.appendRow(chosen, Array.from(chosen, (column) => values[column] ?? 0));
  }
  return store;
}

export default function compute() {
  const bytes = encodePageOutliers(entriesFromRows(fill(128)));
  const wide = fill(300).matrix(); // beyond 256 columns indices take two bytes
  return {
    bytes,
    decoded: decodePageOutliers(bytes, 0),
    columns: toCsc(wide).starts,
    indices: wide.indices,
    product: multiplyVector(wide, Float32Array.from({ length: 300 }, (_, column) => column % 7)),
    outside: selectOutside(Float32Array.of(0, 3, -5, 1, 9), -2, 2).indices,
  };
}
