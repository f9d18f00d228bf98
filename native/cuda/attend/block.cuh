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
__device__ __forceinline__ const kvq_cuda_page *load_pages(const kvq_cuda_page_table *from) {
  return reinterpret_cast<const kvq_cuda_page *>(load_table(reinterpret_cast<const unsigned long long *>(&from->pages)));
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

// What a block works on: a KV head of a sequence and up to block_queries of its query heads.
struct block_place {
  uint32_t sequence, head, first_query, group;
  __device__ __forceinline__ explicit block_place(const kvq_cuda_attention &a)
      : sequence(blockIdx.y / a.kv_heads), head(blockIdx.y % a.kv_heads), first_query(head * a.group + blockIdx.z * a.block_queries), group(min(a.block_queries, a.group - blockIdx.z * a.block_queries)) {}
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
  return a.partials + (size_t{place.row()} * a.slots + slot) * partial_floats(HeadDim, a.block_queries);
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

__device__ __forceinline__ float4 add_scaled(const float4 &sum, float scale, const float4 &x) { return make_float4(sum.x + scale * x.x, sum.y + scale * x.y, sum.z + scale * x.z, sum.w + scale * x.w); }

// The last block of a head to arrive merges all partial results. Slots before `plain` hold sums in plain channels; the others, if Rotated, in the frame of the codes:
//   out = ((deviation * A + mean * S) H + E) / total      A, S: sums and totals of rotated slots, E: sums of plain ones
// weights: room for slots * group numbers; scratch: for merge_floats(group). Both in shared memory.
template <uint32_t HeadDim, bool Rotated>
__device__ __forceinline__ void merge_partials(const kvq_cuda_attention &a, const block_place &place, uint32_t plain, float *weights, float *scratch) {
  KVQ_SHARED(bool, last);
  KVQ_SHARED(float[queries][2], wholes); // totals of a query over plain and over rotated slots
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(a.arrivals + place.row(), 1u) == a.slots - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (threadIdx.x == 0) a.arrivals[place.row()] = 0;
  const uint32_t group = place.group, lane = threadIdx.x % 32, stride = partial_floats(HeadDim, a.block_queries), totals = group * HeadDim;
  const float *partial = partial_of<HeadDim>(a, place, 0);

  // Weights of the slots, a warp a query.
  for (uint32_t g = threadIdx.x / 32; g < group; g += blockDim.x / 32) {
    float most = no_score, outer = 0, inner = 0;
#pragma unroll 4
    for (uint32_t slot = lane; slot < a.slots; slot += 32) most = fmaxf(most, load_written(partial + slot * stride + totals + 2 * g));
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, distance));
    for (uint32_t slot = lane; slot < a.slots; slot += 32) {
      const float2 part = load_written(reinterpret_cast<const float2 *>(partial + slot * stride + totals + 2 * g));
      const float weight = power_of_two(part.x - most);
      weights[slot * group + g] = weight;
      (slot < plain ? outer : inner) += weight * part.y;
    }
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) outer += __shfl_xor_sync(~0u, outer, distance), inner += __shfl_xor_sync(~0u, inner, distance);
    if (lane == 0) wholes[g][0] = outer, wholes[g][1] = inner;
  }
  __syncthreads();

  // Sums, four channels a thread; where a row is shorter than the block, threads share the slots.
  const uint32_t columns = group * (HeadDim / 4), sharing = columns < blockDim.x ? blockDim.x / columns : 1;
  float4 *outer_sums = reinterpret_cast<float4 *>(scratch), *inner_sums = outer_sums + sharing * columns;
  for (uint32_t i = threadIdx.x; i < sharing * columns; i += blockDim.x) {
    const uint32_t column = i % columns, g = column / (HeadDim / 4);
    float4 outer = {0, 0, 0, 0}, inner = {0, 0, 0, 0};
    constexpr uint32_t ahead = 8; // loads in flight
    for (uint32_t first = i / columns; first < a.slots; first += ahead * sharing) {
      float4 x[ahead];
#pragma unroll
      for (uint32_t n = 0; n < ahead; n++) {
        const uint32_t slot = min(first + n * sharing, a.slots - 1);
        x[n] = load_written(reinterpret_cast<const float4 *>(partial + slot * stride) + column);
      }
#pragma unroll
      for (uint32_t n = 0; n < ahead; n++) {
        const uint32_t slot = first + n * sharing;
        const float weight = slot < a.slots ? weights[slot * group + g] : 0.0f;
        outer = add_scaled(outer, !Rotated || slot < plain ? weight : 0.0f, x[n]);
        if (Rotated) inner = add_scaled(inner, slot < plain ? 0.0f : weight, x[n]);
      }
    }
    outer_sums[i] = outer;
    if (Rotated) inner_sums[i] = inner;
  }
  __syncthreads();
  float *rows = weights; // no longer needed
  for (uint32_t i = threadIdx.x; i < group * HeadDim; i += blockDim.x) {
    float outer = 0, inner = 0;
    for (uint32_t part = 0; part < sharing; part++) {
      outer += scratch[part * group * HeadDim + i];
      if (Rotated) inner += scratch[(sharing + part) * group * HeadDim + i];
    }
    scratch[i] = outer; // the thread's own first part
    const uint32_t column = place.head * HeadDim + i % HeadDim;
    if (Rotated) rows[i] = inner * a.value_deviation[column] + wholes[i / HeadDim][1] * a.value_mean[column];
  }
  if (Rotated) transform_rows<HeadDim>(rows, group);
  constexpr float gain = HeadDim == 64 ? 0.125f : HeadDim == 128 ? 0.08838834764831845f : 0.0625f;
  float *out = a.out + (size_t{place.sequence} * a.kv_heads * a.group + place.first_query) * HeadDim;
  for (uint32_t i = threadIdx.x; i < group * HeadDim; i += blockDim.x) {
    out[i] = (scratch[i] + (Rotated ? rows[i] * gain : 0.0f)) / (wholes[i / HeadDim][0] + wholes[i / HeadDim][1]);
  }
}

}  // namespace kvq_cuda
