// The end of a call, for the ISA of the including file. (In scalar code it took 0.5 us a query at head dim 128: a tenth of a call over 1,024 tokens.)
#pragma once

#include "ops/attend-pages/attend-pages.h"
#include "ops/attend-pages/transform-row.simd.h"

namespace {

inline void finish(const kvq_attention_tables *tables, uint32_t head, const kvq::workspace &work, kvq_partial out) {
  const kvq::value_tables &value = tables->value;
  const uint32_t head_dim = value.head_dim;
  const size_t at = static_cast<size_t>(head) * head_dim;
  for (uint32_t g = 0; g < work.group; g++) {
    const float *sum = work.sum + static_cast<size_t>(g) * head_dim;
    float *to = out.sum + static_cast<size_t>(g) * head_dim;
    out.maximum[g] = work.maximum[g];
    out.total[g] = work.total[g];
    for (uint32_t c = 0; c < head_dim; c += lanes) {
      if (value.rotated) store(to + c, multiply_add(load(sum + c), load(value.deviation + at + c), multiply(load(value.mean + at + c), broadcast(work.total[g]))));
      else store(to + c, add(load(sum + c), broadcast(work.zero_sum[g])));
    }
    if (value.rotated) transform_row(to, head_dim, value.hadamard_block);
  }
}

}  // namespace
