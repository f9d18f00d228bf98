// kvq_rms_norm: y = x / sqrt(mean(x^2) + epsilon) * weight, row after row.
#include "ops/norm/norm.h"

#include "kvquant/dense.h"
#include "ops/common/dispatch.h"

void kvq_rms_norm(kvq_isa isa, const float *x, const float *weight, float epsilon, size_t rows, size_t width, size_t x_stride, size_t y_stride, float *y) {
  for (size_t row = 0; row < rows; row++) KVQ_SELECT(isa, rms_norm)(x + row * x_stride, weight, epsilon, width, y + row * y_stride);
}
