// Levels for 3-bit codes of a skewed distribution: evenly spaced, NormalFloat, and the best there are.
import { addSample, createHistogram, fitExact, histogramError, normalFloat, uniformLevels } from "@kvquant/codebook";

const values = Float32Array.from({ length: 20_000 }, (_, index) => Math.sin(index) ** 5);
const histogram = createHistogram(4096, -1, 1);
for (const value of values) addSample(histogram, value, 1); // the weight is what an error there costs: all the same here

const candidates = { uniform: uniformLevels(3), normalFloat: normalFloat(3), fitted: fitExact(histogram, 8) };
for (const [name, levels] of Object.entries(candidates)) {
  const error = histogramError(histogram, levels) / values.length;
  console.log(`${name.padEnd(12)} mean squared error ${error.toExponential(2)}   levels ${Array.from(levels, (level) => level.toFixed(3)).join(" ")}`);
}
