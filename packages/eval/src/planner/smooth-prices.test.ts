import { expect, it } from "vitest";
import type { Price } from "./price-options.js";
import { smoothPrices } from "./smooth-prices.js";

/** Prices `damage(layer, option)` of 12 layers and 8 options of keys. */
function makePrices(damage: (layer: number, option: number) => number): Price[] {
  return Array.from({ length: 96 }, (_, index) => {
    const [layer, option] = [Math.floor(index / 8), index % 8];
    return { layer, side: "key", option: `o${option}`, codeBits: 3, bitsPerValue: 3, pageBytes: 100, tableBytes: 0, damage: damage(layer, option), damageError: undefined };
  });
}

/** True damages: tensors and options multiply. */
const exact = (layer: number, option: number): number => (1 + layer) ** 2 * 4 ** -option;
/** Between 1/2 and 2, another number for each price (fractional parts of multiples of the golden ratio). */
const noise = (layer: number, option: number): number => 4 ** (((8 * layer + option + 1) * 0.6180339887) % 1) / 2;

it("changes nothing where tensors and options multiply", () => {
  const prices = makePrices(exact);
  smoothPrices(prices, { keyFactor: 1 }).forEach(({ damage }, index) => expect(damage).toBeCloseTo(prices[index]!.damage, 10));
});

it("more than halves the squared error of noisy prices, and keeps each option's total", () => {
  const noisy = makePrices((layer, option) => exact(layer, option) * noise(layer, option));
  const smooth = smoothPrices(noisy, { keyFactor: 1 });
  const error = (prices: readonly Price[]): number => prices.reduce((sum, { layer, option, damage }) => sum + Math.log(damage / exact(layer, Number(option.slice(1)))) ** 2, 0);
  expect(error(smooth)).toBeLessThan(error(noisy) / 2);
  for (let option = 0; option < 8; option++) {
    const total = (prices: readonly Price[]): number => prices.filter((price) => price.option === `o${option}`).reduce((sum, { damage }) => sum + damage, 0);
    expect(total(smooth) / total(noisy)).toBeCloseTo(1, 10);
  }
});

it("with all of the deviation kept returns what it was given", () => {
  const noisy = makePrices((layer, option) => exact(layer, option) * noise(layer, option));
  smoothPrices(noisy, { kept: 1, keyFactor: 1 }).forEach(({ damage }, index) => expect(damage / noisy[index]!.damage).toBeCloseTo(1, 10));
});

it("raises the damage of keys, and of nothing else", () => {
  const prices = [...makePrices(exact), ...makePrices(exact).map((price) => ({ ...price, side: "value" as const }))];
  smoothPrices(prices, { keyFactor: 2 }).forEach(({ side, damage }, index) => expect(damage / prices[index]!.damage).toBeCloseTo(side === "key" ? 2 : 1, 10));
});

it("takes a tensor without damage, and refuses layers with other options", () => {
  const prices = makePrices((layer, option) => (layer === 3 ? 0 : exact(layer, option)));
  for (const { damage } of smoothPrices(prices)) expect(Number.isFinite(damage)).toBe(true);
  expect(() => smoothPrices(prices.slice(1))).toThrowError(/the same options in every layer/);
});
