// Sums of weighted value codes in fixed point: the contract between the chunk loop and its kernels (AVX-512).
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvq::avx512 {

// Pages that a kernel adds before it moves on to the next channels: few enough to stay in L1.
constexpr int value_pass_pages = 2;

struct fixed_value_pages {
  const uint8_t *codes[value_pass_pages]; /* of the head */
  const uint8_t *ahead[value_pass_pages]; /* codes to prefetch instead of them later */
  int count;
  uint32_t groups;      /* head_dim / 16 */
  const int8_t *levels; /* [64] */
  const uint8_t *bytes; /* [queries][2][chunk_tokens] from the first page's first token */
  int32_t *sums;        /* [groups][sum_stride], of them [queries][2][16] */
  size_t sum_stride;
};

using fixed_value_kernel = void(const fixed_value_pages &pages);
constexpr uint32_t most_value_queries = 6;
// Kernel for 1 .. most_value_queries queries that decodes in registers; NULL for head dims whose groups of 16 do not fill packing units.
fixed_value_kernel *fixed_value_kernel_of(uint32_t bits, uint32_t groups, uint32_t queries);

}  // namespace kvq::avx512
