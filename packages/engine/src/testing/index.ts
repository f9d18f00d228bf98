/** Conformance suite for page stores. */

export { assertPageStoreLaws, pageStoreLaws } from "../stores/page-store-laws.js";
export type { PageStoreLaw } from "../stores/page-store-laws.js";
