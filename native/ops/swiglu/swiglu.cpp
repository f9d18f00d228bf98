// kvq_swiglu: out = silu(gate) * up, row after row.
#include "ops/swiglu/swiglu.h"

#include "kvquant/dense.h"
#include "ops/common/dispatch.h"

void kvq_swiglu(kvq_isa isa, const float *gate_up, size_t rows, size_t width, float *out) {
  for (size_t row = 0; row < rows; row++) KVQ_SELECT(isa, swiglu)(gate_up + 2 * row * width, gate_up + (2 * row + 1) * width, width, out + row * width);
}
