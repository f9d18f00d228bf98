// Attention over one chunk of exact tokens by a whole block: sinks, tail and open page, at most 64 tokens, in fp16 with sums in fp32.
#pragma once

#include "cuda/attend/block.cuh"

namespace kvq_cuda {

// sums [parts][group][head_dim] and totals [parts][group][2]: room for `warps` parts; scores [group][row_floats]; rotated [group][head_dim].
template <uint32_t HeadDim>
__device__ __forceinline__ void attend_exact(const kvq_cuda_attention &a, const block_place &place, const kvq_cuda_exact &chunk, uint32_t slot, float *sums, float *totals, float *scores, float *rotated) {
  constexpr uint32_t parts = threads * 2 / HeadDim; // of the tokens in the second half
  const uint32_t thread = threadIdx.x, tokens = chunk.tokens, group = place.group;
  const uint16_t *keys = chunk.address + size_t{place.head} * 3 * chunk.capacity * HeadDim, *values = keys + size_t{chunk.capacity} * HeadDim;
  rotate_queries<HeadDim>(a, place, a.scale, [&](uint32_t g, uint32_t pair, float x, float y) {
    rotated[g * HeadDim + channel_of(pair, 0, a.rotary_dim)] = x;
    rotated[g * HeadDim + channel_of(pair, 1, a.rotary_dim)] = y;
  });
  __syncthreads();

  // Scores: some threads a token, each takes every so many-th 8 channels.
  constexpr uint32_t sharing = threads / page_tokens;
  const uint32_t token = thread / sharing;
  float score[queries] = {};
  if (token < tokens) {
    const uint4 *row = reinterpret_cast<const uint4 *>(keys + token * HeadDim);
#pragma unroll
    for (uint32_t i = thread % sharing; i < HeadDim / 8; i += sharing) {
      const uint4 k = load_stream(row + i);
      const float x[8] = {low_half(k.x), high_half(k.x), low_half(k.y), high_half(k.y), low_half(k.z), high_half(k.z), low_half(k.w), high_half(k.w)};
#pragma unroll
      for (uint32_t g = 0; g < queries; g++) {
        if (g >= group) break;
        const float4 q = reinterpret_cast<const float4 *>(rotated + g * HeadDim)[2 * i], r = reinterpret_cast<const float4 *>(rotated + g * HeadDim)[2 * i + 1];
        score[g] += x[0] * q.x + x[1] * q.y + x[2] * q.z + x[3] * q.w + x[4] * r.x + x[5] * r.y + x[6] * r.z + x[7] * r.w;
      }
    }
  }
#pragma unroll
  for (uint32_t g = 0; g < queries; g++) {
    if (g >= group) break;
#pragma unroll
    for (uint32_t distance = 1; distance < sharing; distance *= 2) score[g] += __shfl_xor_sync(~0u, score[g], distance);
    if (thread % sharing == 0) scores[g * row_floats + token] = token < tokens ? score[g] : no_score;
  }
  __syncthreads();

  // Weights: a warp takes a query.
  for (uint32_t g = thread / 32; g < group; g += warps) {
    float *row = scores + g * row_floats + thread % 32;
    const float a0 = row[0], a1 = row[32];
    float most = fmaxf(a0, a1);
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, distance));
    const float w0 = thread % 32 < tokens ? power_of_two(a0 - most) : 0, w1 = thread % 32 + 32 < tokens ? power_of_two(a1 - most) : 0;
    float total = w0 + w1;
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(~0u, total, distance);
    row[0] = w0, row[32] = w1;
    if (thread % 32 == 0) {
#pragma unroll
      for (uint32_t part = 0; part < parts; part++) {
        totals[(part * group + g) * 2] = most;
        totals[(part * group + g) * 2 + 1] = part == 0 ? total : 0.0f;
      }
    }
  }
  __syncthreads();

  // Values: a thread takes two channels and every parts-th token.
  const uint32_t columns = thread % (HeadDim / 2), part = thread / (HeadDim / 2);
  float low[queries] = {}, high[queries] = {};
#pragma unroll 4
  for (uint32_t t = part; t < tokens; t += parts) {
    const uint32_t v = load_table(reinterpret_cast<const uint32_t *>(values + t * HeadDim) + columns);
#pragma unroll
    for (uint32_t g = 0; g < queries; g++) {
      if (g >= group) break;
      const float weight = scores[g * row_floats + t];
      low[g] += weight * low_half(v);
      high[g] += weight * high_half(v);
    }
  }
#pragma unroll
  for (uint32_t g = 0; g < queries; g++) {
    if (g >= group) break;
    reinterpret_cast<float2 *>(sums + (part * group + g) * HeadDim)[columns] = make_float2(low[g], high[g]);
  }
  __syncthreads();
  write_partial<HeadDim>(a, place, slot, parts, sums, totals);
}

}  // namespace kvq_cuda
