/** A page's outliers as rows of a CSR store, and back. */

import { check, checkInteger, PAGE_TOKENS } from "@kvquant/spec";
import { csrStore } from "./csr-store.js";
import type { CsrStore } from "./csr-store.js";
import { checkEntries, MAXIMUM_ROW_OUTLIERS } from "./page-outliers.js";
import type { OutlierEntries } from "./page-outliers.js";
import { readValues } from "./read-values.js";

/**
 * The rows of a store as the outliers of a page of that many tokens: what `encodePageOutliers` takes.
 * @throws INVALID_ARGUMENT unless the store has 1 to 64 rows of at most 15 entries and at most 256 columns
 */
export function entriesFromRows(store: CsrStore): OutlierEntries {
  checkInteger("entriesFromRows: rows", store.rows, { minimum: 1, maximum: PAGE_TOKENS });
  checkInteger("entriesFromRows: cols", store.cols, { minimum: 1, maximum: 256 });
  const matrix = store.matrix();
  const counts = new Uint8Array(PAGE_TOKENS);
  for (let row = 0; row < store.rows; row++) {
    const count = store.rowLength(row);
    check(count <= MAXIMUM_ROW_OUTLIERS, `entriesFromRows: entries of row ${row}`, `at most ${MAXIMUM_ROW_OUTLIERS}`, count);
    counts[row] = count;
  }
  return { tokens: store.rows, counts, deltas: readValues(matrix).slice(), indices: Uint8Array.from(matrix.indices) };
}

/**
 * The outliers of a page as a store `[tokens, headDim]` with fp16 values.
 * @throws INVALID_ARGUMENT for entries that are not a page's: see `encodePageOutliers`
 */
export function rowsFromEntries(entries: OutlierEntries, headDim: number): CsrStore {
  checkEntries("rowsFromEntries", entries);
  const store = csrStore({ cols: headDim });
  let start = 0;
  for (let token = 0; token < entries.tokens; token++) {
    const end = start + entries.counts[token]!;
    store.appendRow(entries.indices.subarray(start, end), entries.deltas.subarray(start, end));
    start = end;
  }
  return store;
}
