// Scores of one page in 16-bit fixed point: the contract between the page loop and the kernels of each bit width and group (AVX-512).
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvq::avx512 {

struct fixed_page {
  const uint8_t *codes;    /* of the head */
  const int16_t *table;    /* [head_dim][2^bits] keys in grid units */
  const int16_t *angles;   /* kvq_rope.offset_fixed; for one query: query_angles */
  const uint32_t *fixed;   /* [queries][fixed_stride] im << 16 | re */
  const uint32_t *swapped; /* re << 16 | im, for one query */
  const float *inverse;    /* [queries][16] */
  uint32_t groups;         /* head_dim / 16 */
  float *scores;           /* [queries][chunk_tokens] */
  const float *added;      /* [queries][64] outlier parts of the scores, in token order; or NULL */
  const uint8_t *ahead;    /* codes to prefetch, as many bytes as this page's */
  const uint8_t *values_ahead; /* value codes to prefetch, values_lines * 64 bytes a group */
  uint32_t values_lines;
};

using fixed_kernel = void(const fixed_page &page);
// Kernel of a bit width for 1 .. most_fixed_queries queries.
constexpr uint32_t most_fixed_queries = 8;
fixed_kernel *fixed_kernel_of(uint32_t bits, uint32_t queries);

}  // namespace kvq::avx512
