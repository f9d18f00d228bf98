// Computed in Node and in chromium.
import { addSample, createHistogram, fitExact, fitLloyd, fitOnGrid, lloydMaxNormal, midpoints, nearestCode, normalFloat, qNorm, uniformOnGrid } from "@kvquant/codebook";

export default function compute() {
  const histogram = createHistogram(256, -1, 1);
  for (let index = 0; index < 2000; index++) addSample(histogram, (((index * 7919) % 2000) / 1000 - 1) ** 3, 1 + (index % 5));
  const fitted = fitOnGrid(histogram, 8);
  return {
    exact: fitExact(histogram, 8),
    fitted,
    lloyd: fitLloyd(histogram, 8),
    normal: lloydMaxNormal(3),
    normalFloat: normalFloat(4),
    qNorm: qNorm(histogram, fitted),
    uniform: uniformOnGrid(3),
    code: nearestCode(midpoints(fitted), 0.3),
  };
}
