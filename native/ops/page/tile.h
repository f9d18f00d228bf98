// Between rows, one a token [tokens][stride], and a tile of one head [head_dim][64], where a lane is a token. Squares of lanes::width are transposed in registers.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kvquant/page.h"

namespace {

constexpr size_t tile_row_bytes = KVQ_PAGE_TOKENS * sizeof(float);

// Fills a tile; missing tokens get the numbers of token 0, which keeps them harmless.
inline void load_tile(const float *rows, size_t stride, uint32_t tokens, uint32_t head_dim, float *tile) {
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
    for (uint32_t channel = 0; channel < head_dim; channel += lanes::width) {
      const uint8_t *from = (const uint8_t *)(rows + token * stride + channel);
      size_t from_stride = stride * sizeof(float);
      float square[lanes::width * lanes::width];
      if (token + lanes::width > tokens) {
        from = (const uint8_t *)square;
        from_stride = lanes::width * sizeof(float);
        for (uint32_t row = 0; row < lanes::width; row++) memcpy(square + row * lanes::width, rows + (token + row < tokens ? token + row : 0) * stride + channel, from_stride);
      }
      lanes::transpose(from, from_stride, (uint8_t *)(tile + channel * KVQ_PAGE_TOKENS + token), tile_row_bytes);
    }
  }
}

// Writes the first `tokens` tokens of a tile to rows.
inline void store_tile(const float *tile, uint32_t head_dim, uint32_t tokens, float *rows, size_t stride) {
  for (uint32_t token = 0; token < tokens; token += lanes::width) {
    for (uint32_t channel = 0; channel < head_dim; channel += lanes::width) {
      const uint8_t *from = (const uint8_t *)(tile + channel * KVQ_PAGE_TOKENS + token);
      float *to = rows + token * stride + channel;
      if (token + lanes::width <= tokens) {
        lanes::transpose(from, tile_row_bytes, (uint8_t *)to, stride * sizeof(float));
        continue;
      }
      float square[lanes::width * lanes::width];
      lanes::transpose(from, tile_row_bytes, (uint8_t *)square, lanes::width * sizeof(float));
      for (uint32_t row = 0; token + row < tokens; row++) memcpy(to + row * stride, square + row * lanes::width, lanes::width * sizeof(float));
    }
  }
}

}  // namespace
