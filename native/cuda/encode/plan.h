// Launches and scratch of encoding. Included by encode.h.
#pragma once

#include <stdio.h>

namespace kvq_cuda {

// Staging of a page and head: its outlier section at full length, then four numbers.
constexpr uint32_t section_bytes = 32 + 64 * KVQ_OUTLIER_SLOTS * 3;
constexpr uint32_t staged_bytes = (section_bytes + 16 + 63) / 64 * 64;

// Scratch of one page.
struct encode_scratch {
  size_t sections; // [kv_heads][staged_bytes]
  size_t rows;     // values: [64][kv_heads * head_dim] fp32, rotated and standardised, or as they came
  size_t numbers;  // values: [3][64] fp32: scale, zero point, its inverse
  size_t chosen;   // values with outliers: [64][kv_heads * head_dim / 32] u32
  size_t bytes;
};
constexpr encode_scratch encode_scratch_of(uint32_t kv_heads, uint32_t head_dim, bool values) {
  encode_scratch s = {};
  const size_t columns = size_t{kv_heads} * head_dim;
  s.rows = size_t{kv_heads} * staged_bytes;
  s.numbers = s.rows + (values ? columns * 64 * 4 : 0);
  s.chosen = s.numbers + (values ? 3 * 64 * 4 : 0);
  s.bytes = (s.chosen + (values ? columns / 32 * 64 * 4 : 0) + 63) / 64 * 64;
  return s;
}

// Keys: the tile of one head [head_dim][64] fp32, codes [head_dim][64], scale, zero and inverse of a channel, marks and slots.
constexpr uint32_t encode_tile_bytes(uint32_t head_dim) { return head_dim * 64 * 5 + head_dim * 3 * 4 + head_dim * 8 + 64 * 4 + 256; }

}  // namespace kvq_cuda

inline size_t kvq_cuda_encode_scratch(const kvq_cuda_encode &encode) {
  return encode.count * kvq_cuda::encode_scratch_of(encode.kv_heads, encode.head_dim, encode.values != 0).bytes;
}

inline std::vector<kvq_cuda_launch> kvq_cuda_plan_encode(const kvq_cuda_encode &encode) {
  std::vector<kvq_cuda_launch> launches;
  const auto add = [&](const char *kernel, bool sized, uint32_t heads, uint32_t shared) {
    kvq_cuda_launch launch = {};
    if (sized) snprintf(launch.kernel, sizeof(launch.kernel), "%s_%u", kernel, encode.head_dim);
    else snprintf(launch.kernel, sizeof(launch.kernel), "%s", kernel);
    launch.grid[0] = encode.count, launch.grid[1] = heads, launch.grid[2] = 1;
    launch.threads = 256;
    launch.shared_bytes = shared;
    kvq_cuda_set_parameters(launch, encode);
    launches.push_back(launch);
  };
  const uint32_t tile = kvq_cuda::encode_tile_bytes(encode.head_dim);
  if (encode.values == 0) {
    add("kvq_encode_keys", true, encode.kv_heads, tile);
  } else {
    if (encode.rotated) add("kvq_encode_rotate", true, encode.kv_heads, tile);
    add("kvq_encode_tokens", false, 1, 0);
    add("kvq_encode_values", true, encode.kv_heads, tile);
  }
  add("kvq_encode_sections", false, 1, 0);
  return launches;
}
