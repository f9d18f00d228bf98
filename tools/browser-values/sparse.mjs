// Computed in Node and in chromium.
import { csrStore, decodePageOutliers, encodePageOutliers, entriesFromRows, multiplyVector, selectOutside, selectTopK, toCsc } from "@kvquant/sparse";

export default function compute() {
  const store = csrStore({ cols: 300 }); // beyond 256 columns indices take two bytes
  for (let row = 0; row < 64; row++) {
    const values = Float32Array.from({ length: 300 }, (_, column) => ((row * 131 + column * 71) % 601) / 64 - 4.5);
    const chosen = selectTopK(values, 5);
    store.appendRow(chosen, Array.from(chosen, (column) => values[column] ?? 0));
  }
  const bytes = encodePageOutliers(entriesFromRows(store));
  return {
    bytes,
    decoded: decodePageOutliers(bytes),
    columns: toCsc(store.matrix()).starts,
    product: multiplyVector(store.matrix(), Float32Array.from({ length: 300 }, (_, column) => column % 7)),
    outside: selectOutside(Float32Array.of(0, 3, -5, 1, 9), -2, 2).indices,
  };
}
