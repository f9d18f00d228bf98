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

constexpr uint32_t encode_threads = 256;

// Shared memory of a head: [head_dim][64] fp32 and codes, numbers of the channels, levels and midpoints.
struct encode_shared {
  uint32_t tile;     // [head_dim][64] fp32
  uint32_t codes;    // [head_dim][64] u8
  uint32_t scale, zero, inverse; // [head_dim] fp32
  uint32_t marks;    // [head_dim][2] u32: a bit for each outlier
  uint32_t counts;   // [64] u32: entries of a token, then of the tokens before it
  uint32_t levels, midpoints; // [32] fp32
  uint32_t bytes;
};
constexpr encode_shared encode_shared_of(uint32_t head_dim) {
  encode_shared s = {};
  s.tile = 0;
  s.codes = head_dim * 256;
  s.scale = s.codes + head_dim * 64;
  s.zero = s.scale + head_dim * 4;
  s.inverse = s.zero + head_dim * 4;
  s.marks = s.inverse + head_dim * 4;
  s.counts = s.marks + head_dim * 8;
  s.levels = s.counts + 65 * 4;
  s.midpoints = s.levels + 128;
  s.bytes = s.midpoints + 128;
  return s;
}

}  // namespace kvq_cuda

inline size_t kvq_cuda_encode_scratch(const kvq_cuda_encode &encode) {
  return encode.count * kvq_cuda::encode_scratch_of(encode.kv_heads, encode.head_dim, encode.values != 0).bytes;
}

inline std::vector<kvq_cuda_launch> kvq_cuda_plan_encode(const kvq_cuda_encode &encode) {
  std::vector<kvq_cuda_launch> launches;
  const auto add = [&](const char *kernel, uint32_t heads, uint32_t shared) {
    kvq_cuda_launch launch = {};
    snprintf(launch.kernel, sizeof(launch.kernel), "%s", kernel);
    launch.grid[0] = encode.count, launch.grid[1] = heads, launch.grid[2] = 1;
    launch.threads = kvq_cuda::encode_threads;
    launch.shared_bytes = shared;
    kvq_cuda_set_parameters(launch, encode);
    launches.push_back(launch);
  };
  const uint32_t tile = kvq_cuda::encode_shared_of(encode.head_dim).bytes;
  if (encode.values == 0) {
    add("kvq_cuda_encode_keys", encode.kv_heads, tile);
  } else {
    if (encode.rotated) add("kvq_cuda_encode_rotate", encode.kv_heads, tile);
    add("kvq_cuda_encode_tokens", 1, 0);
    add("kvq_cuda_encode_values", encode.kv_heads, tile);
  }
  add("kvq_cuda_encode_sections", 1, 0);
  return launches;
}
