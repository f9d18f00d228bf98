// Numbers of the tokens of a value page, found before any code is: sums along the channels in channel order (a lane is a token), and ranges.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/page.h"
#include "ops/page/half.h"

namespace {

constexpr uint32_t page_vectors = KVQ_PAGE_TOKENS / lanes::width;

// A number of each token, as stored and as fp32.
struct token_number {
  uint16_t bits[KVQ_PAGE_TOKENS];
  float value[KVQ_PAGE_TOKENS];
  void set(uint32_t token, float x) {
    bits[token] = finite_half_of_float(x);
    value[token] = float_of_half(bits[token]);
  }
  // Little-endian halves, zeros for missing tokens.
  void write(uint8_t *out, uint32_t tokens) const {
    for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) write_half(out + 2 * token, token < tokens ? bits[token] : 0);
  }
};

// sum [64] += rows of a tile [head_dim][64], one channel after another.
inline void add_channels(const float *tile, uint32_t head_dim, float *sum) {
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
    lanes::floats total = lanes::load(sum + token);
    for (uint32_t channel = 0; channel < head_dim; channel++) total = total + lanes::load(tile + channel * KVQ_PAGE_TOKENS + token);
    lanes::store(sum + token, total);
  }
}

// Smallest and largest of x [columns] without the chosen ones.
inline void range_without(const float *x, uint32_t columns, const uint16_t *chosen, float &low, float &high) {
  const lanes::floats highest = lanes::all(__builtin_inff());
  const lanes::floats lowest = lanes::all(-__builtin_inff());
  lanes::floats least = highest;
  lanes::floats most = lowest;
  for (uint32_t column = 0; column < columns; column += lanes::width) {
    const lanes::floats value = lanes::load(x + column);
    const uint32_t skipped = chosen == nullptr ? 0 : static_cast<uint32_t>(chosen[column / 16]) >> column % 16;
    least = lanes::minimum(least, skipped == 0 ? value : lanes::select(skipped, highest, value));
    most = lanes::maximum(most, skipped == 0 ? value : lanes::select(skipped, lowest, value));
  }
  float all_least[lanes::width], all_most[lanes::width];
  lanes::store(all_least, least);
  lanes::store(all_most, most);
  low = all_least[0];
  high = all_most[0];
  for (uint32_t lane = 1; lane < lanes::width; lane++) {
    low = all_least[lane] < low ? all_least[lane] : low;
    high = all_most[lane] > high ? all_most[lane] : high;
  }
}

}  // namespace
