// Prefill attention over a staged tile of 64 keys: the internal contract of the ISAs (arguments as in kvquant/attention.h).
#pragma once

#include "kvquant/attention.h"

namespace kvq {

// Rows whose scores and sums are held in registers together.
constexpr uint32_t tile_block_rows = 6;

struct tile_call {
  uint32_t head_dim;
  const float *q; /* [rows][head_dim] */
  uint32_t rows;
  const float *keys;   /* [head_dim][64] */
  const float *values; /* [64][head_dim] */
  const uint8_t *seen; /* [rows] */
  kvq_rows_state state;
  float *weights; /* scratch [tile_block_rows][64] */
};

using attend_tile_kernel = void(const tile_call &call);
using stage_exact_kernel = void(uint32_t head_dim, const uint16_t *key, const uint16_t *value, uint32_t tokens, float *keys, float *values); /* key, value: of the head */
namespace scalar { attend_tile_kernel attend_tile; stage_exact_kernel stage_exact; }
namespace avx2 { attend_tile_kernel attend_tile; stage_exact_kernel stage_exact; }
namespace avx512 { attend_tile_kernel attend_tile; stage_exact_kernel stage_exact; }

}  // namespace kvq
