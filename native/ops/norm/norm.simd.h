// RMS norm for AVX2 and AVX-512. Four vectors of partial sums hide the latency of the multiply-adds and keep the fp32 error near 1e-7.
#pragma once

#include "ops/common/float-vector.h"
#include "ops/norm/norm.h"

namespace {

float sum_of_squares(const float *x, size_t width) {
  constexpr int sums = 4;
  floats sum[sums] = {zero(), zero(), zero(), zero()};
  size_t i = 0;
  for (; i + sums * lanes <= width; i += sums * lanes)
    for (int v = 0; v < sums; v++) {
      const floats value = load(x + i + v * lanes);
      sum[v] = multiply_add(value, value, sum[v]);
    }
  for (; i < width; i += lanes) {
    const floats value = load_first(x + i, width - i < size_t(lanes) ? width - i : size_t(lanes));
    sum[0] = multiply_add(value, value, sum[0]);
  }
  return sum_of(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
}

void rms_norm_row(const float *x, const float *weight, float epsilon, size_t width, float *y) {
  const float mean = sum_of_squares(x, width) / static_cast<float>(width);
  const floats scale = broadcast(1 / __builtin_sqrtf(mean + epsilon));
  size_t i = 0;
  for (; i + lanes <= width; i += lanes) store(y + i, multiply(multiply(load(x + i), scale), load(weight + i)));
  if (i < width) store_first(y + i, multiply(multiply(load_first(x + i, width - i), scale), load_first(weight + i, width - i)), width - i);
}

}  // namespace
