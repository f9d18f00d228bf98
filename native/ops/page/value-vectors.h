// Value codes between channel rows [head_dim][64 tokens] and the page's vectors [head_dim][64 lanes] (docs/format.md section 1.2): vector
// (token >> 2) * (head_dim / 16) + (channel >> 4) holds 16 channels x 4 tokens, so 16 channel rows are 16 x 16 4-byte numbers to transpose.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/page.h"

namespace {

inline void transpose_quads(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride) {
  for (uint32_t row = 0; row < 16; row += lanes::width)
    for (uint32_t column = 0; column < 16; column += lanes::width) lanes::transpose(from + row * from_stride + 4 * column, from_stride, to + column * to_stride + 4 * row, to_stride);
}

inline void vectors_from_channels(const uint8_t *channels, uint32_t head_dim, uint8_t *vectors) {
  const uint32_t groups = head_dim / 16;
  for (uint32_t group = 0; group < groups; group++) transpose_quads(channels + 16 * group * KVQ_PAGE_TOKENS, KVQ_PAGE_TOKENS, vectors + group * KVQ_PAGE_TOKENS, groups * KVQ_PAGE_TOKENS);
}

inline void channels_from_vectors(const uint8_t *vectors, uint32_t head_dim, uint8_t *channels) {
  const uint32_t groups = head_dim / 16;
  for (uint32_t group = 0; group < groups; group++) transpose_quads(vectors + group * KVQ_PAGE_TOKENS, groups * KVQ_PAGE_TOKENS, channels + 16 * group * KVQ_PAGE_TOKENS, KVQ_PAGE_TOKENS);
}

}  // namespace
