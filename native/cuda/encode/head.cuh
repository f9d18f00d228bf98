// What encoding kernels share: the tile of one KV head in shared memory, rounding, packing and the staged outlier section. Arithmetic as docs/format.md section 2 demands: every operation is
// written with its rounding, so that no multiplication and addition are contracted. A lane is a token; a block of 256 threads holds 64 tokens four times.
#pragma once

#include "cuda/common/device.cuh"
#include "cuda/encode/encode.h"

namespace kvq_cuda {

constexpr uint32_t block_tokens = 64;
constexpr uint32_t token_parts = encode_threads / block_tokens;

// A half, saturated at its largest number.
__device__ __forceinline__ uint16_t finite_half(float x) { return half_of_float(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x); }
__device__ __forceinline__ float inverse_of(float scale) { return scale == 0.0f ? 0.0f : __fdiv_rn(1.0f, scale); }

// A number of the page, from rows or from exact storage. part: 2 keys before RoPE, 1 values.
__device__ __forceinline__ float source_number(const kvq_cuda_encode &e, const kvq_cuda_encode_page &page, uint32_t part, uint32_t token, uint32_t column) {
  if (page.capacity == 0) return static_cast<const float *>(page.source)[size_t{token} * e.kv_heads * e.head_dim + column];
  return float_of_half(static_cast<const uint16_t *>(page.source)[((size_t{column / e.head_dim} * 3 + part) * page.capacity + token) * e.head_dim + column % e.head_dim]);
}

__device__ __forceinline__ size_t codes_size(const kvq_cuda_encode &e) { return size_t{8} * e.head_dim * e.bits; }
__device__ __forceinline__ size_t head_size(const kvq_cuda_encode &e) { return codes_size(e) + (e.page_scales ? (2 * e.head_dim + 63) / 64 * 64 : 0); }
__device__ __forceinline__ uint8_t *page_scratch(const kvq_cuda_encode &e, uint32_t page) { return e.scratch + page * encode_scratch_of(e.kv_heads, e.head_dim, e.values != 0).bytes; }

struct encode_head {
  const kvq_cuda_encode &e;
  uint8_t *memory;
  encode_shared at;
  uint32_t head, tokens;

  __device__ __forceinline__ float *tile() const { return reinterpret_cast<float *>(memory + at.tile); }
  __device__ __forceinline__ uint8_t *codes() const { return memory + at.codes; }
  __device__ __forceinline__ float *numbers(uint32_t offset) const { return reinterpret_cast<float *>(memory + offset); }
  __device__ __forceinline__ uint32_t *marks() const { return reinterpret_cast<uint32_t *>(memory + at.marks); }
  __device__ __forceinline__ uint32_t *counts() const { return reinterpret_cast<uint32_t *>(memory + at.counts); }
  __device__ __forceinline__ bool marked(uint32_t channel, uint32_t token) const { return marks()[2 * channel + token / 32] >> token % 32 & 1; }
  // Code index j: pair j / 2, half j % 2 within the rotary channels (keys); values are numbered by channel.
  __device__ __forceinline__ uint32_t channel_of_code(uint32_t code) const { return e.values == 0 && code < e.rotary_dim ? code / 2 + code % 2 * (e.rotary_dim / 2) : code; }

  __device__ __forceinline__ void load_levels() const {
    if (threadIdx.x < 32) numbers(at.levels)[threadIdx.x] = e.levels[threadIdx.x];
    else if (threadIdx.x < 63) numbers(at.midpoints)[threadIdx.x - 32] = e.midpoints[threadIdx.x - 32];
  }
  // Missing tokens get the numbers of token 0, which keeps them harmless.
  __device__ __forceinline__ void load_tile(const kvq_cuda_encode_page &page, uint32_t part) const {
    for (uint32_t i = threadIdx.x; i < block_tokens * e.head_dim; i += encode_threads) {
      const uint32_t channel = i % e.head_dim, token = i / e.head_dim;
      tile()[channel * block_tokens + token] = source_number(e, page, part, token < tokens ? token : 0, head * e.head_dim + channel);
    }
  }

  // Count of midpoints below x.
  __device__ __forceinline__ uint32_t code_of(float x) const {
    const float *midpoints = numbers(at.midpoints);
    uint32_t code = 0;
    for (uint32_t i = 0; i + 1 < 1u << e.bits; i++) code += midpoints[i] < x;
    return code;
  }
  __device__ __forceinline__ float level(uint32_t code) const { return numbers(at.levels)[code]; }

  // Key codes of a head to 16-bit lanes (docs/format.md section 1.1).
  __device__ __forceinline__ void pack_keys(uint8_t *to) const {
    const uint32_t per_word = 16 / e.bits;
    for (uint32_t i = threadIdx.x; i < e.head_dim * e.bits * 4; i += encode_threads) {
      const uint32_t lane = i % 64, word = i / 64 % e.bits, group = i / 64 / e.bits, token = lane < 32 ? 31 - lane : lane;
      const auto code = [&](uint32_t in_group) -> uint32_t { return codes()[channel_of_code(16 * group + in_group) * block_tokens + token]; };
      uint32_t packed = 0;
      for (uint32_t c = 0; c < per_word; c++) packed |= code(word * per_word + c) << (e.bits * c);
      if (per_word * e.bits < 16) packed |= (code(15) >> word & 1) << 15;
      reinterpret_cast<uint16_t *>(to)[i] = static_cast<uint16_t>(packed);
    }
  }
  // Value codes of a head to units of 64-byte rows (section 1.2).
  __device__ __forceinline__ void pack_values(uint8_t *to) const {
    const uint32_t vectors = e.bits == 4 ? 2 : e.bits == 2 ? 4 : 8, rows = vectors * e.bits / 8, groups = e.head_dim / 16;
    for (uint32_t i = threadIdx.x; i < e.head_dim / vectors * rows * 64; i += encode_threads) {
      const uint32_t lane = i % 64, row = i / 64 % rows, unit = i / 64 / rows;
      const auto code = [&](uint32_t vector) -> uint32_t {
        const uint32_t n = unit * vectors + vector, channel = n % groups * 16 + lane / 4, token = n / groups * 4 + lane % 4;
        return codes()[channel * block_tokens + token];
      };
      uint32_t packed;
      if (e.bits == 4) packed = code(0) | code(1) << 4;
      else if (e.bits == 2) packed = code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6;
      else if (e.bits == 3) packed = code(2 * row) | code(2 * row + 1) << 3 | (row == 0 ? (code(6) & 3) << 6 : row == 1 ? (code(7) & 3) << 6 : (code(6) >> 2) << 6 | (code(7) >> 2) << 7);
      else packed = code(row) | (row < 3 ? (code(5 + row) & 7) << 5 : row == 3 ? (code(5) >> 3) << 5 | (code(7) >> 3 & 1) << 7 : (code(6) >> 3) << 5 | (code(7) >> 4) << 7);
      to[i] = static_cast<uint8_t>(packed);
    }
  }

  // Leaves the 15 largest magnitudes of a token's marks, ties to the lower code; returns how many marks it takes away. One thread a token; order(code) gives the magnitude.
  template <class Magnitude>
  __device__ __forceinline__ uint32_t limit_marks(uint32_t token, Magnitude magnitude) const {
    uint32_t count = 0;
    for (uint32_t channel = 0; channel < e.head_dim; channel++) count += marked(channel, token);
    if (count <= KVQ_OUTLIER_SLOTS) return 0;
    float last = INFINITY;
    uint32_t last_code = 0;
    bool any = false;
    for (uint32_t slot = 0; slot < KVQ_OUTLIER_SLOTS; slot++) { // the next one in falling order
      float best = -1;
      uint32_t best_code = 0;
      for (uint32_t code = 0; code < e.head_dim; code++) {
        const uint32_t channel = channel_of_code(code);
        if (!marked(channel, token)) continue;
        const float x = magnitude(channel);
        if (any && !(x < last || (x == last && code > last_code))) continue;
        if (x > best) best = x, best_code = code;
      }
      last = best, last_code = best_code, any = true;
    }
    for (uint32_t code = 0; code < e.head_dim; code++) {
      const uint32_t channel = channel_of_code(code);
      if (!marked(channel, token)) continue;
      const float x = magnitude(channel);
      if (x > last || (x == last && code <= last_code)) continue;
      atomicAnd(marks() + 2 * channel + token / 32, ~(1u << token % 32));
    }
    return count - KVQ_OUTLIER_SLOTS;
  }

  // Writes the head's section to its staging place, and its length behind it. delta(channel, token) gives the stored difference.
  template <class Delta>
  __device__ __forceinline__ void stage_section(uint8_t *to, Delta delta) const {
    const uint32_t token = threadIdx.x;
    if (token < block_tokens) {
      uint32_t count = 0;
      for (uint32_t channel = 0; channel < e.head_dim; channel++) count += marked(channel, token);
      counts()[token] = count;
    }
    __syncthreads();
    if (token < 32) to[token] = static_cast<uint8_t>(counts()[2 * token] | counts()[2 * token + 1] << 4);
    __syncthreads();
    if (token == 0) {
      uint32_t total = 0;
      for (uint32_t t = 0; t < block_tokens; t++) {
        const uint32_t count = counts()[t];
        counts()[t] = total;
        total += count;
      }
      counts()[block_tokens] = total;
      const uint32_t used = 32 + 3 * total, length = (used + 3) / 4 * 4;
      for (uint32_t i = used; i < length; i++) to[i] = 0;
      *reinterpret_cast<uint32_t *>(to + section_bytes) = length;
    }
    __syncthreads();
    if (token >= block_tokens) return;
    uint32_t entry = counts()[token];
    const uint32_t total = counts()[block_tokens];
    for (uint32_t code = 0; code < e.head_dim; code++) {
      const uint32_t channel = channel_of_code(code);
      if (!marked(channel, token)) continue;
      reinterpret_cast<uint16_t *>(to + 32)[entry] = delta(channel, token);
      to[32 + 2 * total + entry] = static_cast<uint8_t>(code);
      entry++;
    }
  }
};

}  // namespace kvq_cuda
