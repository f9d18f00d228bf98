// Attention of a decoded token over exact (fp16) storage: the internal contract of the ISAs.
// This is also the baseline that compressed pages are measured against, so it must run at the speed of memory.
#pragma once

#include "kvquant/attention.h"

namespace kvq {

// Views of a chunk: their scores are held together, so that the maximum is updated and the sums are scaled once a chunk.
constexpr size_t exact_chunk_views = 8;
// Queries of a pass: those whose sums fit in registers. A larger group takes several passes over a chunk, which is in L2 after the first.
constexpr uint32_t exact_pass_queries = 8;

// Bytes of scratch of one call: queries [pass][head_dim][<= 8], scores [<= 8][chunk_views * 64]. kvq_attention_scratch covers it (test/attend-exact.test.cpp).
inline size_t exact_scratch_bytes(uint32_t head_dim, uint32_t group) {
  const size_t queries = (static_cast<size_t>(head_dim) * group * sizeof(float) + 63) / 64 * 64;
  return queries + (group < exact_pass_queries ? group : exact_pass_queries) * exact_chunk_views * KVQ_PAGE_TOKENS * sizeof(float);
}

// Arguments of kvq_attend_exact as the kernels take them.
struct exact_call {
  uint32_t head_dim, head;
  const float *q; /* [group][head_dim] */
  uint32_t group;
  float scale; /* 1 / sqrt(head_dim) * log2(e) */
  const kvq_exact_view *views;
  size_t count;
  kvq_partial out; /* maximum = -infinity, total = 0 and sum = 0 on entry */
  void *scratch;
};

using attend_exact_kernel = void(const exact_call &call);
namespace scalar { attend_exact_kernel attend_exact; }
namespace avx2 { attend_exact_kernel attend_exact; }
namespace avx512 { attend_exact_kernel attend_exact; }

// Places of a KV head in exact storage. Panels of a head lie one after another, so a panel starts at channel * 64.
inline const uint16_t *exact_head(const uint16_t *page, uint32_t head_dim, uint32_t head) { return page + static_cast<size_t>(head) * head_dim * KVQ_PAGE_TOKENS; }
inline uint32_t panel_width(uint32_t head_dim, uint32_t channel) { return head_dim - channel < 64 ? head_dim - channel : 64; }

}  // namespace kvq
