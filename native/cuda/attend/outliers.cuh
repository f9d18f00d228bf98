// Outlier sections (docs/format.md section 1.3) as a warp reads them: entries one a lane, in order, so that a token's lie side by side.
#pragma once

#include "cuda/attend/shape.h"
#include "cuda/common/device.cuh"

namespace kvq_cuda {

// One section on its way: counts are asked for first, then the entries, so that neither is waited for.
struct outlier_section {
  static constexpr uint32_t kept = 3; // entries of a lane that are fetched ahead: 96 of a section

  const uint8_t *section;
  uint32_t counts;  // of tokens 2 lane (low nibble) and 2 lane + 1
  uint32_t entries;
  uint32_t deltas[kept], indices[kept];

  __device__ __forceinline__ void ask_counts(const uint8_t *from, uint32_t lane) {
    section = from;
    counts = load_table(from + lane);
  }
  // Asks for the lane's first entries; writes the token of each entry to tokens [most_outliers].
  __device__ __forceinline__ void ask_entries(uint32_t lane, uint8_t *tokens) {
    const uint32_t even = counts & 15, odd = counts >> 4;
    uint32_t end = even + odd;
#pragma unroll
    for (uint32_t distance = 1; distance < 32; distance *= 2) {
      const uint32_t before = __shfl_up_sync(~0u, end, distance);
      if (lane >= distance) end += before;
    }
    entries = __shfl_sync(~0u, end, 31);
#pragma unroll
    for (uint32_t i = 0; i < kept; i++) {
      if (lane + 32 * i >= entries) break;
      deltas[i] = delta_at(lane + 32 * i), indices[i] = index_at(lane + 32 * i);
    }
    uint8_t *to = tokens + end - even - odd;
#pragma unroll 1
    for (uint32_t i = 0; i < even + odd; i++) to[i] = static_cast<uint8_t>(2 * lane + (i >= even));
    __syncwarp();
  }
  __device__ __forceinline__ uint32_t delta_at(uint32_t entry) const { return load_table(reinterpret_cast<const uint16_t *>(section + 32) + entry); }
  __device__ __forceinline__ uint32_t index_at(uint32_t entry) const { return load_table(section + 32 + 2 * entries + entry); }

  // Calls visit(present, entry, delta, index) for 32 entries at a time, on all lanes together; entry 0 stands in on lanes without one.
  template <class Visit>
  __device__ __forceinline__ void each(uint32_t lane, Visit visit) const {
#pragma unroll
    for (uint32_t i = 0; i < kept; i++) {
      if (32 * i >= entries) return;
      const bool present = lane + 32 * i < entries;
      visit(present, present ? lane + 32 * i : 0, present ? float_of_half(static_cast<uint16_t>(deltas[i])) : 0.0f, present ? indices[i] : 0);
    }
    for (uint32_t first = 32 * kept; first < entries; first += 32) {
      const bool present = first + lane < entries;
      const uint32_t entry = present ? first + lane : 0;
      visit(present, entry, present ? float_of_half(static_cast<uint16_t>(delta_at(entry))) : 0.0f, index_at(entry));
    }
  }
};

// The sum over the lanes before and with this one that have its key, where lanes with the same key are neighbours. others: those lanes (__match_any_sync).
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
