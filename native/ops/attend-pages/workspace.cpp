// Working memory of a call of kvq_attend_pages, sized for every ISA and precision.
#include <initializer_list>

#include "ops/attend-pages/attend-pages.h"
#include "ops/common/arena.h"

kvq::workspace kvq::carve_workspace(void *scratch, uint32_t head_dim, uint32_t group, size_t *bytes) {
  const size_t padded = (head_dim / 2 + pair_lanes - 1) / pair_lanes * pair_lanes, queries = group * padded;
  arena memory{static_cast<uint8_t *>(scratch)};
  workspace w{};
  w.group = group;
  for (float **array : {&w.base_re, &w.base_im, &w.re, &w.im, &w.factor, &w.page_factor, &w.magnitude}) *array = memory.take<float>(queries);
  for (float **array : {&w.cosine, &w.sine, &w.page_grid}) *array = memory.take<float>(padded);
  w.inverse = memory.take<float>(group * size_t(16));
  w.page_inverse = memory.take<float>(group * size_t(16));
  w.fixed = memory.take<uint32_t>(size_t(2) * group * fixed_stride);
  w.swapped = memory.take<uint32_t>(size_t(2) * group * fixed_stride);
  w.scores = memory.take<float>(group * size_t(chunk_tokens));
  w.bytes = memory.take<uint8_t>(group * size_t(2 * chunk_tokens));
  w.token_scale = memory.take<float>(chunk_tokens);
  w.token_zero = memory.take<float>(chunk_tokens);
  w.whole = memory.take<int32_t>(group * size_t(2 * head_dim));
  w.sum = memory.take<float>(group * size_t(head_dim));
  for (float **array : {&w.zero_sum, &w.maximum, &w.total, &w.unit}) *array = memory.take<float>(group);
  w.table = memory.take<float>(head_dim * size_t(64));
  w.staged = memory.take<uint8_t>(head_dim * size_t(64) * 2);
  const size_t eights = (group + 7) / 8;
  w.outlier_queries = memory.take<float>(eights * padded * 16);
  w.added = memory.take<float>(eights * 8 * KVQ_PAGE_TOKENS);
  if (bytes != nullptr) *bytes = memory.used;
  return w;
}

size_t kvq_attention_scratch(uint32_t head_dim, uint32_t group) {
  size_t bytes = 0;
  kvq::carve_workspace(nullptr, head_dim, group, &bytes);
  return bytes;
}
