// The normalised Hadamard transform of a row in memory, for the ISA of the including file.
#pragma once

#include "ops/common/float-vector.h"

namespace {

template <int apart>
struct butterfly_signs {
  float of[lanes];
  constexpr butterfly_signs() : of() {
    for (int i = 0; i < lanes; i++) of[i] = i & apart ? -1.0f : 1.0f;
  }
};

// Butterflies (a, b) -> (a + b, a - b) of strides `apart`, 2 * apart, .. within a vector: x * sign + partner.
template <int apart = 1>
inline floats transform_lanes(floats x) {
  static constexpr butterfly_signs<apart> signs;
  const floats sums = multiply_add(x, load(signs.of), exchange<apart>(x));
  if constexpr (2 * apart < lanes) return transform_lanes<2 * apart>(sums);
  else return sums;
}

// Butterflies of strides 1, 2, 4, .. over each `block` (a multiple of 16) of a row, then one product with 1 / sqrt(block).
inline void transform_row(float *row, uint32_t count, uint32_t block) {
  const floats gain = broadcast(static_cast<float>(1 / __builtin_sqrt(static_cast<double>(block))));
  for (uint32_t c = 0; c < count; c += lanes) {
    const floats x = transform_lanes(load(row + c));
    store(row + c, block <= static_cast<uint32_t>(lanes) ? multiply(x, gain) : x);
  }
  for (uint32_t stride = lanes; stride < block; stride *= 2) {
    const bool last = stride * 2 == block;
    for (uint32_t start = 0; start < count; start += 2 * stride) {
      for (uint32_t c = start; c < start + stride; c += lanes) {
        const floats a = load(row + c), b = load(row + c + stride), sum = add(a, b), difference = subtract(a, b);
        store(row + c, last ? multiply(sum, gain) : sum);
        store(row + c + stride, last ? multiply(difference, gain) : difference);
      }
    }
  }
}

}  // namespace
