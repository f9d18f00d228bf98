// Outlier sections (docs/format.md section 1.3) as a warp reads them: entries one a lane, in order, so that a token's lie side by side.
#pragma once

#include "cuda/attend/shape.h"
#include "cuda/common/device.cuh"

namespace kvq_cuda {

struct outlier_section {
  const uint16_t *deltas;
  const uint8_t *indices;
  uint32_t entries;
};

// Writes the token of each entry to tokens [most_outliers]. Counts are 4 bits a token: lane l holds those of tokens 2 l and 2 l + 1.
__device__ __forceinline__ outlier_section open_section(const uint8_t *section, uint32_t lane, uint8_t *tokens) {
  const uint32_t counts = load_table(section + lane), even = counts & 15, odd = counts >> 4;
  uint32_t end = even + odd;
#pragma unroll
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const uint32_t before = __shfl_up_sync(~0u, end, distance);
    if (lane >= distance) end += before;
  }
  const uint32_t entries = __shfl_sync(~0u, end, 31);
  uint8_t *to = tokens + end - even - odd;
#pragma unroll 1
  for (uint32_t i = 0; i < even + odd; i++) to[i] = static_cast<uint8_t>(2 * lane + (i >= even));
  __syncwarp();
  const uint8_t *deltas = section + 32;
  return {reinterpret_cast<const uint16_t *>(deltas), deltas + 2 * entries, entries};
}

// The sum over the lanes before and with this one that have its key, for keys that ascend with the lane. others: lanes with the same key (__match_any_sync).
__device__ __forceinline__ float sum_of_run(float x, uint32_t others, uint32_t lane) {
  const uint32_t before = __popc(others & ((1u << lane) - 1)); // lanes of the run before this one
#pragma unroll
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const float other = __shfl_up_sync(~0u, x, distance);
    if (before >= distance) x += other;
  }
  return x;
}

// Lanes with the same key (of those in the mask `present`) take turns: calls add(true or false) with __syncwarp between, in order of their lanes. Every lane of the warp must call it.
template <class Add>
__device__ __forceinline__ void take_turns(bool present, uint32_t key, uint32_t lane, Add add) {
  const uint32_t others = __match_any_sync(~0u, present ? key : ~lane);
  const uint32_t turn = __popc(others & ((1u << lane) - 1));
  for (uint32_t now = 0; __any_sync(~0u, present && turn >= now); now++) {
    if (present && turn == now) add();
    __syncwarp();
  }
}

}  // namespace kvq_cuda
