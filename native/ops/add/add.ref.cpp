// Reference of the element-wise sum.
#include "ops/add/add.h"

void kvq::scalar::add(float *x, const float *y, size_t count) {
  for (size_t i = 0; i < count; i++) x[i] += y[i];
}
