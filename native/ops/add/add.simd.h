// Element-wise sum for AVX2 and AVX-512.
#pragma once

#include "ops/add/add.h"
#include "ops/common/float-vector.h"

namespace {

void add_arrays(float *x, const float *y, size_t count) {
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) store(x + i, add(load(x + i), load(y + i)));
  if (i < count) store_first(x + i, add(load_first(x + i, count - i), load_first(y + i, count - i)), count - i);
}

}  // namespace
