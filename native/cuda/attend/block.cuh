// What the attention kernels share: page descriptors, rotated queries, and the end of a block: its partial result, and the merge by the last block of a head.
#pragma once

#include "cuda/attend/attend.h"
#include "cuda/common/device.cuh"

namespace kvq_cuda {

constexpr float no_score = -1e30f;

__device__ __forceinline__ kvq_cuda_page load_page(const kvq_cuda_page *from) {
  union {
    uint4 words[2];
    kvq_cuda_page page;
  } x;
  x.words[0] = load_table(reinterpret_cast<const uint4 *>(from));
  x.words[1] = load_table(reinterpret_cast<const uint4 *>(from) + 1);
  return x.page;
}
__device__ __forceinline__ kvq_cuda_exact load_exact(const kvq_cuda_exact *from) {
  union {
    uint4 words;
    kvq_cuda_exact exact;
  } x;
  x.words = load_table(reinterpret_cast<const uint4 *>(from));
  return x.exact;
}

// Channel of half `half` of a pair: half-split within the rotary channels, neighbours behind them.
__device__ __forceinline__ uint32_t channel_of(uint32_t pair, uint32_t half, uint32_t rotary_dim) { return pair < rotary_dim / 2 ? pair + half * (rotary_dim / 2) : 2 * pair + half; }

// What a block works on: a KV head of a sequence and up to 8 of its query heads.
struct block_place {
  uint32_t sequence, head, first_query, group;
  __device__ __forceinline__ explicit block_place(const kvq_cuda_attention &a)
      : sequence(blockIdx.y / a.kv_heads), head(blockIdx.y % a.kv_heads), first_query(head * a.group + blockIdx.z * queries), group(min(queries, a.group - blockIdx.z * queries)) {}
  // Partial results of the same queries lie together.
  __device__ __forceinline__ uint32_t row() const { return blockIdx.y * gridDim.z + blockIdx.z; }
};

// Queries turned to their position, times `scale`: calls put(query, channel, number) for all of them.
template <uint32_t HeadDim, class Put>
__device__ __forceinline__ void rotate_queries(const kvq_cuda_attention &a, const block_place &place, float scale, Put put) {
  for (uint32_t i = threadIdx.x; i < place.group * (HeadDim / 2); i += blockDim.x) {
    const uint32_t pair = i % (HeadDim / 2), g = i / (HeadDim / 2);
    const float *query = a.query + size_t{place.sequence} * a.query_stride + size_t{place.first_query + g} * HeadDim;
    const float x = query[channel_of(pair, 0, a.rotary_dim)] * scale, y = query[channel_of(pair, 1, a.rotary_dim)] * scale;
    const float *angle = a.query_angles + (size_t{place.sequence} * (HeadDim / 2) + pair) * 2;
    put(g, pair, x * angle[0] - y * angle[1], x * angle[1] + y * angle[0]);
  }
}

// Scores of a page: [group][64], in token order. index: of the page in its sequence.
__device__ __forceinline__ float *scores_of(const kvq_cuda_attention &a, const block_place &place, uint32_t index) {
  return a.scores + (((size_t{place.sequence} * a.score_pages + (index - a.window_first)) * a.kv_heads * a.group) + place.first_query) * page_tokens;
}

// A partial result in scratch: [group][head_dim] sums, then [group][2] maximum and total.
template <uint32_t HeadDim>
__device__ __forceinline__ float *partial_of(const kvq_cuda_attention &a, const block_place &place, uint32_t slot) {
  return a.partials + (size_t{place.row()} * a.slots + slot) * (min(queries, a.group) * (HeadDim + 2));
}

// Adds up what the parts of a block hold and writes the block's partial result.  sums [parts][group][head_dim], totals [parts][group][2]
template <uint32_t HeadDim>
__device__ __forceinline__ void write_partial(const kvq_cuda_attention &a, const block_place &place, uint32_t slot, uint32_t parts, const float *sums, const float *totals) {
  float *to = partial_of<HeadDim>(a, place, slot);
  for (uint32_t i = threadIdx.x; i < place.group * HeadDim; i += blockDim.x) {
    const uint32_t g = i / HeadDim;
    float most = no_score, total = 0, sum = 0;
    for (uint32_t part = 0; part < parts; part++) most = fmaxf(most, totals[(part * place.group + g) * 2]);
    for (uint32_t part = 0; part < parts; part++) {
      const float keep = power_of_two(totals[(part * place.group + g) * 2] - most);
      total += keep * totals[(part * place.group + g) * 2 + 1];
      sum += keep * sums[part * place.group * HeadDim + i];
    }
    to[i] = sum;
    if (i % HeadDim == 0) {
      to[place.group * HeadDim + 2 * g] = most;
      to[place.group * HeadDim + 2 * g + 1] = total;
    }
  }
}

// The symmetric orthonormal Hadamard transform of rows of shared memory; head dims with kernels are powers of two.
template <uint32_t HeadDim>
__device__ __forceinline__ void transform_rows(float *rows, uint32_t count) {
  for (uint32_t stride = 1; stride < HeadDim; stride *= 2) {
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < count * (HeadDim / 2); i += blockDim.x) {
      float *x = rows + (i / stride * 2 * stride + i % stride);
      const float u = x[0], v = x[stride];
      x[0] = u + v;
      x[stride] = u - v;
    }
  }
  __syncthreads();
}

// The last block of a head to arrive merges all partial results. Slots before `plain` hold sums in plain channels; the others, if Rotated, in the frame of the codes:
//   out = ((deviation * A + mean * S) H + E) / total      A, S: sums and totals of rotated slots, E: sums of plain ones
template <uint32_t HeadDim, bool Rotated>
__device__ __forceinline__ void merge_partials(const kvq_cuda_attention &a, const block_place &place, uint32_t plain, float *rows) {
  KVQ_SHARED(bool, last);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(a.arrivals + place.row(), 1u) == a.slots - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (threadIdx.x == 0) a.arrivals[place.row()] = 0;
  const float *partial = partial_of<HeadDim>(a, place, 0);
  const uint32_t stride = min(queries, a.group) * (HeadDim + 2), totals = place.group * HeadDim;
  constexpr uint32_t most_numbers = queries * HeadDim / 128; // of a thread: blocks have at least 128
  float exact[most_numbers], whole[most_numbers];
#pragma unroll
  for (uint32_t n = 0; n < most_numbers; n++) {
    const uint32_t i = threadIdx.x + n * blockDim.x;
    if (i >= place.group * HeadDim) break;
    const uint32_t g = i / HeadDim;
    float most = no_score;
    for (uint32_t slot = 0; slot < a.slots; slot++) most = fmaxf(most, load_written(partial + slot * stride + totals + 2 * g));
    float sum = 0, total = 0;
#pragma unroll 4
    for (uint32_t slot = 0; slot < plain; slot++) {
      const float *from = partial + slot * stride, keep = power_of_two(load_written(from + totals + 2 * g) - most);
      total += keep * load_written(from + totals + 2 * g + 1);
      sum += keep * load_written(from + i);
    }
    float inner = 0, inner_total = 0;
#pragma unroll 4
    for (uint32_t slot = plain; slot < a.slots; slot++) {
      const float *from = partial + slot * stride, keep = power_of_two(load_written(from + totals + 2 * g) - most);
      inner_total += keep * load_written(from + totals + 2 * g + 1);
      inner += keep * load_written(from + i);
    }
    exact[n] = sum, whole[n] = total + inner_total;
    if (Rotated) {
      const uint32_t column = place.head * HeadDim + i % HeadDim;
      rows[i] = inner * a.value_deviation[column] + inner_total * a.value_mean[column];
    } else {
      exact[n] += inner;
    }
  }
  if (Rotated) transform_rows<HeadDim>(rows, place.group);
  constexpr float gain = HeadDim == 64 ? 0.125f : HeadDim == 128 ? 0.08838834764831845f : 0.0625f;
  float *out = a.out + (size_t{place.sequence} * a.kv_heads * a.group + place.first_query) * HeadDim;
#pragma unroll
  for (uint32_t n = 0; n < most_numbers; n++) {
    const uint32_t i = threadIdx.x + n * blockDim.x;
    if (i >= place.group * HeadDim) break;
    out[i] = (exact[n] + (Rotated ? rows[i] * gain : 0.0f)) / whole[n];
  }
}

}  // namespace kvq_cuda
