// The sparse outlier store: the largest values of each token kept exactly, two bytes and an index each, and used in a product.
import { csrStore, multiplyVector, selectTopK } from "@kvquant/sparse";

const channels = 64;
const tokens = Array.from({ length: 4 }, (_, token) => Float32Array.from({ length: channels }, (_, channel) => Math.sin(token * 7 + channel) + (channel === 11 ? 8 : 0)));
const store = csrStore({ cols: channels });
for (const token of tokens) {
  const outliers = selectTopK(token, 2);
  store.appendRow(outliers, Array.from(outliers, (channel) => token[channel] ?? 0));
  console.log(`token ${store.rows - 1}: channels ${outliers.join(" and ")}`);
}
console.log(`${store.rows * 2} outliers in ${store.packedByteLength} bytes`);
const query = new Float32Array(channels).fill(1);
console.log(`their part of the scores: ${Array.from(multiplyVector(store.matrix(), query), (score) => score.toFixed(2)).join(" ")}`);
store.truncate(2);
console.log(`after truncating: ${store.rows} tokens`);
