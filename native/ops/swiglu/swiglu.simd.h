// Gated activation for AVX2 and AVX-512.
// With e = exp(-|x|) = 2^n * p, p = 2^f near 1:  silu(x) = x / (1 + e) for x >= 0, and x * e / (1 + e) = x * p / (1 + e) * 2^n for x < 0:
// nothing overflows, and results stay exact to 1e-6 down to the smallest normal number because the power comes last.
#pragma once

#include "ops/common/float-vector.h"
#include "ops/swiglu/swiglu.h"

namespace {

inline floats silu(floats x) {
  const floats log2_e = broadcast(1.44269502e+00f), log2_e_rest = broadcast(1.92596303e-08f);  // two parts: f keeps its precision at large |x|
  const floats low = maximum(broadcast(-120.0f), x);                                          // silu(-120) is below the subnormal numbers
  const floats minus = subtract(zero(), magnitude(low));
  const floats clamped = maximum(broadcast(-120.0f), minus);  // for large positive x
  const floats n = nearest(multiply(clamped, log2_e));
  const floats f = multiply_add(clamped, log2_e_rest, multiply_add(clamped, log2_e, subtract(zero(), n)));
  const floats p = exp2_fraction(f);
  const floats share = divide(select_negative(low, multiply(low, p), low), add(broadcast(1.0f), scale_by_power(p, n)));
  return select_negative(low, scale_by_power(share, n), share);
}

void swiglu_row(const float *gate, const float *up, size_t width, float *out) {
  size_t i = 0;
  for (; i + lanes <= width; i += lanes) store(out + i, multiply(silu(load(gate + i)), load(up + i)));
  if (i < width) store_first(out + i, multiply(silu(load_first(gate + i, width - i)), load_first(up + i, width - i)), width - i);
}

}  // namespace
