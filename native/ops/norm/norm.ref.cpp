// Reference of the RMS norm; squares are summed in fp64.
#include <cmath>

#include "ops/norm/norm.h"

void kvq::scalar::rms_norm(const float *x, const float *weight, float epsilon, size_t width, float *y) {
  double squares = 0;
  for (size_t i = 0; i < width; i++) squares += static_cast<double>(x[i]) * x[i];
  const float scale = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(width) + epsilon));
  for (size_t i = 0; i < width; i++) y[i] = x[i] * scale * weight[i];
}
