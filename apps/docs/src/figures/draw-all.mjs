// Every figure of the site by the name of its file.
import { keysBeforeAndAfterRope, keysByChannel } from "./key-figures.mjs";
import { bitsAndDivergence, ladder } from "./measured-figures.mjs";
import { keyErrorLadder, outlierErrors, outlierThresholds } from "./outlier-figures.mjs";
import { pagesSinksTail } from "./pages-figure.mjs";

/** Those that follow from the data file alone. @param {import("../measurements.mjs").Measurements} measurements @returns {Readonly<Record<string, string>>} */
export function drawMeasured(measurements) {
  return { "bits-and-divergence": bitsAndDivergence(measurements, "wikitext-2-no-tail"), ladder: ladder(measurements), "pages-sinks-tail": pagesSinksTail() };
}

/** Those of a model's keys and values. @param {import("./measure.mjs").FigureData} data @returns {Readonly<Record<string, string>>} */
export function drawModel(data) {
  return {
    "keys-by-channel": keysByChannel(data),
    "keys-before-and-after-rope": keysBeforeAndAfterRope(data),
    "key-errors": keyErrorLadder(data),
    "outlier-thresholds": outlierThresholds(data),
    "outlier-errors": outlierErrors(data),
  };
}
