// kvq_add and kvq_add_bias: x += y, and x += bias on each row.
#include "ops/add/add.h"

#include "kvquant/dense.h"
#include "ops/common/dispatch.h"

void kvq_add(kvq_isa isa, float *x, const float *y, size_t count) { KVQ_SELECT(isa, add)(x, y, count); }

void kvq_add_bias(kvq_isa isa, float *x, const float *bias, size_t rows, size_t width, size_t stride) {
  for (size_t row = 0; row < rows; row++) KVQ_SELECT(isa, add)(x + row * stride, bias, width);
}
