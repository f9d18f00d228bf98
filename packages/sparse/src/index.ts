/** Sparse outliers: selection, CSR and CSC storage, products, and the outlier section of a page. */

export { toCsc, toCsr, toDense, transpose } from "./convert.js";
export { csrStore } from "./csr-store.js";
export type { CsrStore, CsrStoreOptions } from "./csr-store.js";
export { multiplyMatrix, multiplyTransposed, multiplyVector } from "./multiply.js";
export { decodePageOutliers, encodePageOutliers, MAXIMUM_ROW_OUTLIERS, pageOutlierByteLength } from "./page-outliers.js";
export type { OutlierEntries, PageOutlierLimits } from "./page-outliers.js";
export { entriesFromRows, rowsFromEntries } from "./page-rows.js";
export { readValues } from "./read-values.js";
export { selectOutside } from "./select-outside.js";
export type { OutsideSelection } from "./select-outside.js";
export { selectTopK } from "./select-top-k.js";
export { packedByteLength } from "./sparse-matrix.js";
export type { IndexArray, SparseMatrix, ValueType } from "./sparse-matrix.js";
