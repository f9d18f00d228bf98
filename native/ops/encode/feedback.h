// The feedback of key rounding: x_z = x_z - e_j * W_jz for all ranks j < z in ascending order, for a strip of tokens at a time.
// Left-looking: `Targets` rows stay in registers while the errors of all earlier ranks pass by, so that a product costs a quarter of a load. D(D-1)/2 * 64 multiplications a page and
// head are the limit, 8 us for D = 128 at 16 a cycle and 4 GHz; measured on Zen 4 with AVX-512: 3.4 us for D = 64, 13 for D = 128 more than rounding without feedback. A rank waits for
// the one before it, so a strip is as wide as the registers allow: with 32 tokens at a time AVX-512 took 5.6 and 18 us.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"

namespace {

// Lanes of a row that are worked on at once, and rows.
constexpr uint32_t strip_vectors = lanes::strip_vectors;
constexpr uint32_t strip_tokens = strip_vectors * lanes::width;
constexpr uint32_t feedback_targets = 4;
static_assert(KVQ_PAGE_TOKENS % strip_tokens == 0, "strips fill a page");

// Subtracts the errors of ranks `first` .. `end` - 1 from the rows of ranks `target` .. `target` + Targets - 1.
//   rows     the page's rows at the strip, in rounding order from `target` on
//   errors   [head_dim][strip_tokens], by rank
//   weights  W_jz of the head for ranks j < z, row after row
template <uint32_t Targets>
inline void subtract_errors(float *const *rows, const float *errors, const float *weights, uint32_t head_dim, uint32_t target, uint32_t first, uint32_t end) {
  lanes::floats value[Targets][strip_vectors];
  for (uint32_t row = 0; row < Targets; row++)
    for (uint32_t vector = 0; vector < strip_vectors; vector++) value[row][vector] = lanes::load(rows[row] + vector * lanes::width);

  // W_jz lies at j * (2 D - j - 1) / 2 + z - j - 1; from a rank to the next the distance shrinks by 1.
  const float *weight = weights + first * (2 * head_dim - first - 1) / 2 + (target - first - 1);
  for (uint32_t rank = first; rank < end; weight += head_dim - rank - 2, rank++) {
    lanes::floats error[strip_vectors];
    for (uint32_t vector = 0; vector < strip_vectors; vector++) error[vector] = lanes::in_register(lanes::load(errors + rank * strip_tokens + vector * lanes::width));
    for (uint32_t row = 0; row < Targets; row++)
      for (uint32_t vector = 0; vector < strip_vectors; vector++) value[row][vector] = value[row][vector] - error[vector] * lanes::all(weight[row]);
  }

  for (uint32_t row = 0; row < Targets; row++)
    for (uint32_t vector = 0; vector < strip_vectors; vector++) lanes::store(rows[row] + vector * lanes::width, value[row][vector]);
}

}  // namespace
