// kvq_attend_exact: starts the running softmax and hands over to the kernel of the ISA.
#include "ops/attend-exact/attend-exact.h"

#include <cmath>

#include "ops/common/dispatch.h"

void kvq_attend_exact(kvq_isa isa, uint32_t head_dim, uint32_t, uint32_t head, const float *q, uint32_t group, float scale, const kvq_exact_view *views, size_t count, kvq_partial out,
                      void *scratch) {
  constexpr float log2_e = 1.44269504088896340736f;
  for (uint32_t g = 0; g < group; g++) {
    out.maximum[g] = -INFINITY;
    out.total[g] = 0;
  }
  for (size_t i = 0; i < static_cast<size_t>(group) * head_dim; i++) out.sum[i] = 0;
  KVQ_SELECT(isa, attend_exact)({head_dim, head, q, group, scale * log2_e, views, count, out, scratch});
}
