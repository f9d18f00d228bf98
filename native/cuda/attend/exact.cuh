// Attention over one chunk of exact tokens by a whole block: sinks, tail and open page, at most 64 tokens in fp16.
//
// A warp takes 16 tokens. Keys and values go from memory straight to product fragments, 16 bytes a lane: the sum over channels (keys) and the columns of the product (values) are numbered so that
// a lane's 8 neighbouring channels are its own. All loads are in flight at once: a chunk costs one trip to memory.
#pragma once

#include "cuda/attend/block.cuh"

namespace kvq_cuda {

__device__ __forceinline__ uint32_t part_of(const uint4 &x, uint32_t i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }

// sums [warps][group][head_dim], totals [warps][group][2], rotated [group][head_dim] in shared memory.
template <uint32_t HeadDim>
__device__ __forceinline__ void attend_exact(const kvq_cuda_attention &a, const block_place &place, const kvq_cuda_exact &chunk, float *sums, float *totals, float *rotated) {
  static_assert(warps * 16 == page_tokens, "a chunk is a block's");
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, tig = lane % 4, group = place.group, tokens = chunk.tokens;
  const uint16_t *keys = chunk.address + size_t{place.head} * 3 * chunk.capacity * HeadDim, *values = keys + size_t{chunk.capacity} * HeadDim;
  constexpr uint4 nothing = {0, 0, 0, 0};
  uint4 key[2][HeadDim / 32], value[4][HeadDim / 64];
#pragma unroll
  for (uint32_t n = 0; n < 2; n++) {
    const uint32_t token = 16 * warp + 8 * n + g;
#pragma unroll
    for (uint32_t i = 0; i < HeadDim / 32; i++) key[n][i] = token < tokens ? load_stream(reinterpret_cast<const uint4 *>(keys + token * HeadDim + 32 * i) + tig) : nothing;
  }
#pragma unroll
  for (uint32_t row = 0; row < 4; row++) {
    const uint32_t token = 16 * warp + 2 * tig + row % 2 + row / 2 * 8;
#pragma unroll
    for (uint32_t i = 0; i < HeadDim / 64; i++) value[row][i] = token < tokens ? load_stream(reinterpret_cast<const uint4 *>(values + token * HeadDim + 64 * i) + g) : nothing;
  }
  rotate_queries<HeadDim>(a, place, a.scale, [&](uint32_t query, uint32_t pair, float x, float y) {
    rotated[query * HeadDim + channel_of(pair, 0, a.rotary_dim)] = x;
    rotated[query * HeadDim + channel_of(pair, 1, a.rotary_dim)] = y;
  });
  __syncthreads();

  float score[2][4] = {};
#pragma unroll
  for (uint32_t i = 0; i < HeadDim / 32; i++) {
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
      const float4 q = g < group ? *reinterpret_cast<const float4 *>(rotated + g * HeadDim + 32 * i + 8 * tig + 4 * half) : make_float4(0, 0, 0, 0);
      const uint32_t low = pack_halves(q.x, q.y), high = pack_halves(q.z, q.w);
#pragma unroll
      for (uint32_t n = 0; n < 2; n++) multiply_halves(score[n], low, 0, high, 0, part_of(key[n][i], 2 * half), part_of(key[n][i], 2 * half + 1));
    }
  }
  float most = no_score, total = 0;
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
    float &s = score[i / 2][i % 2];
    if (16 * warp + 8 * (i / 2) + 2 * tig + i % 2 >= tokens) s = no_score;
    most = fmaxf(most, s);
  }
  most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
  most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) {
    float &s = score[i / 2][i % 2];
    total += s = s == no_score ? 0.0f : power_of_two(s - most);
  }
  total += __shfl_xor_sync(~0u, total, 1);
  total += __shfl_xor_sync(~0u, total, 2);
  const uint32_t first = pack_halves(score[0][0], score[0][1]), second = pack_halves(score[1][0], score[1][1]);
#pragma unroll
  for (uint32_t i = 0; i < HeadDim / 64; i++) {
#pragma unroll
    for (uint32_t channel = 0; channel < 8; channel++) {
      const uint32_t pick = channel % 2 ? 0x7632 : 0x5410;
      const auto word = [&](uint32_t row) { return part_of(value[row][i], channel / 2); };
      float sum[4] = {};
      multiply_halves(sum, first, 0, second, 0, pick_bytes(word(0), word(1), pick), pick_bytes(word(2), word(3), pick));
      if (g < group) {
        float *to = sums + (warp * group + g) * HeadDim + 64 * i + channel;
        to[8 * (2 * tig)] = sum[0];
        to[8 * (2 * tig + 1)] = sum[1];
      }
    }
  }
  if (g < group && tig == 0) {
    float *to = totals + (warp * group + g) * 2;
    to[0] = most, to[1] = total;
  }
}

}  // namespace kvq_cuda
