/** The look of each cache, the same in every plot. */

import type { FidelityReport } from "../suite/suite-report.js";

/** Colours in the style sheet. */
const SERIES_COLOURS = 8;

/** How a cache is drawn. */
export interface SeriesLook {
  /** CSS class that sets its colour. */
  readonly className: string;
  /** Dashes of its lines; beyond the first eight caches colours come again with dashes. */
  readonly dashes: string | undefined;
}

/** Gives each compressed cache of a report its look, in order; fp16 takes the ink of the text. */
export function createLooks(report: FidelityReport): (cache: string) => SeriesLook {
  const names = [...new Set(report.caches.filter(({ tail }) => tail !== undefined).map(({ cache }) => cache))];
  return (cache) => {
    const index = names.indexOf(cache);
    if (index < 0) return { className: "s0", dashes: undefined };
    return { className: `s${1 + (index % SERIES_COLOURS)}`, dashes: [undefined, "6 3", "2 3"][Math.floor(index / SERIES_COLOURS) % 3] };
  };
}
