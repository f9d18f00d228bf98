// Decode attention over exact (fp16) tokens: kvq_half_<headDim>, see attend.h. The structure of the compressed kernels, so that the bench compares like with like: split over tokens, all query
// heads of a KV head together on tensor cores, partial results merged by the last block of a head.
//
// A warp takes tiles of 32 tokens: keys and values by asynchronous copies to shared memory (16-byte chunks, swizzled by row), fetched one tile ahead, fragments by ldmatrix.
#include "cuda/attend/block.cuh"

namespace kvq_cuda {

template <uint32_t HeadDim>
struct half_kernel {
  static constexpr uint32_t chunks = HeadDim / 8; // of 16 bytes a row

  const kvq_cuda_attention &a;
  const block_place &place;
  uint8_t *keys, *values;
  uint32_t lane;

  static __device__ __forceinline__ uint8_t *place_in(uint8_t *tile, uint32_t row, uint32_t chunk) { return tile + (row * chunks + (chunk ^ (row & 7))) * 16; }

  // part 0: keys, 1: values.
  __device__ __forceinline__ void fetch(uint8_t *to, const kvq_cuda_exact &chunk, uint32_t tile, uint32_t which) const {
    const uint16_t *from = chunk.address + ((size_t{place.head} * 3 + which) * chunk.capacity + tile % 2 * half_tile_tokens) * HeadDim;
    const uint32_t tokens = valid(chunk, tile);
#pragma unroll 2
    for (uint32_t i = 0; i < chunks; i++) {
      const uint32_t c = lane + 32 * i;
      start_copy(place_in(to, c / chunks, c % chunks), from + 8 * c, c / chunks < tokens);
    }
    commit_copies();
  }
  static __device__ __forceinline__ uint32_t valid(const kvq_cuda_exact &chunk, uint32_t tile) {
    const uint32_t before = tile % 2 * half_tile_tokens;
    return chunk.tokens > before ? min(chunk.tokens - before, half_tile_tokens) : 0;
  }

  __device__ __forceinline__ void run(float *sums, float *totals, float *rotated, uint32_t warp) {
    const kvq_cuda_exact *table = a.exact + size_t{place.sequence} * a.exact_slots;
    const uint32_t tiles = 2 * a.exact_slots, block_warps = blockDim.x / 32, step = gridDim.x * block_warps, first = blockIdx.x * block_warps + warp;
    const uint32_t g = lane / 4, tig = lane % 4;
    kvq_cuda_exact chunk = {}, next = {};
    if (first < tiles) {
      chunk = load_exact(table + first / 2);
      fetch(keys, chunk, first, 0), fetch(values, chunk, first, 1);
      if (first + step < tiles) next = load_exact(table + (first + step) / 2);
    }
    rotate_queries<HeadDim>(a, place, a.scale, [&](uint32_t query, uint32_t pair, float x, float y) {
      rotated[query * HeadDim + channel_of(pair, 0, a.rotary_dim)] = x;
      rotated[query * HeadDim + channel_of(pair, 1, a.rotary_dim)] = y;
    });
    __syncthreads();
    const auto fragment = [&](uint32_t i, uint32_t e) -> uint32_t {
      const float *q = rotated + g * HeadDim + 16 * i + 8 * e + 2 * tig;
      return g < place.group ? pack_halves(q[0], q[1]) : 0;
    };
    constexpr bool held = HeadDim < 256; // registers hold the query
    uint32_t query[held ? HeadDim / 16 : 1][2];
    if (held) {
#pragma unroll
      for (uint32_t i = 0; i < HeadDim / 16; i++) query[i][0] = fragment(i, 0), query[i][1] = fragment(i, 1);
    }
    float sum[HeadDim / 8][4] = {}, most = no_score, total = 0;
    for (uint32_t tile = first; tile < tiles; tile += step) {
      const uint32_t tokens = valid(chunk, tile);
      await_copies<1>();
      __syncwarp();
      float score[4][4] = {};
#pragma unroll
      for (uint32_t i = 0; i < HeadDim / 32; i++) {
        uint32_t q[4];
#pragma unroll
        for (uint32_t e = 0; e < 4; e++) q[e] = held ? query[held ? 2 * i + e / 2 : 0][e % 2] : fragment(2 * i + e / 2, e % 2);
#pragma unroll
        for (uint32_t n = 0; n < 4; n++) {
          uint32_t r[4];
          load_tiles(r, place_in(keys, 8 * n + lane % 8, 4 * i + lane / 8));
          multiply_halves(score[n], q[0], 0, q[1], 0, r[0], r[1]);
          multiply_halves(score[n], q[2], 0, q[3], 0, r[2], r[3]);
        }
      }
      __syncwarp();
      if (tile + step < tiles) fetch(keys, next, tile + step, 0);
      else commit_copies();
      float tile_most = no_score;
#pragma unroll
      for (uint32_t n = 0; n < 4; n++)
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
          if (8 * n + 2 * tig + e >= tokens) score[n][e] = no_score;
          tile_most = fmaxf(tile_most, score[n][e]);
        }
      tile_most = fmaxf(tile_most, __shfl_xor_sync(~0u, tile_most, 1));
      tile_most = fmaxf(tile_most, __shfl_xor_sync(~0u, tile_most, 2));
      if (__any_sync(~0u, tile_most > most)) {
        const float up = fmaxf(most, tile_most), keep = power_of_two(most - up);
        most = up, total *= keep;
#pragma unroll
        for (uint32_t i = 0; i < HeadDim / 8; i++) sum[i][0] *= keep, sum[i][1] *= keep;
      }
      uint32_t weight[4];
#pragma unroll
      for (uint32_t n = 0; n < 4; n++) {
        const float x = 8 * n + 2 * tig < tokens ? power_of_two(score[n][0] - most) : 0, y = 8 * n + 2 * tig + 1 < tokens ? power_of_two(score[n][1] - most) : 0;
        total += x + y;
        weight[n] = pack_halves(x, y);
      }
      await_copies<1>();
      __syncwarp();
#pragma unroll
      for (uint32_t j = 0; j < 2; j++)
#pragma unroll
        for (uint32_t i = 0; i < HeadDim / 16; i++) {
          uint32_t r[4];
          load_tiles_transposed(r, place_in(values, 16 * j + lane % 16, 2 * i + lane / 16));
          multiply_halves(sum[2 * i], weight[2 * j], 0, weight[2 * j + 1], 0, r[0], r[1]);
          multiply_halves(sum[2 * i + 1], weight[2 * j], 0, weight[2 * j + 1], 0, r[2], r[3]);
        }
      __syncwarp();
      if (tile + step < tiles) fetch(values, next, tile + step, 1);
      else commit_copies();
      chunk = next;
      if (tile + 2 * step < tiles) next = load_exact(table + (tile + 2 * step) / 2);
    }
    await_copies<0>();
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    __syncthreads(); // the tiles of every warp are done with: sums lie over them
    if (g >= place.group) return;
#pragma unroll
    for (uint32_t i = 0; i < HeadDim / 8; i++)
#pragma unroll
      for (uint32_t e = 0; e < 2; e++) sums[(warp * place.group + g) * HeadDim + 8 * i + 2 * tig + e] = sum[i][e];
    if (tig == 0) totals[(warp * place.group + g) * 2] = most, totals[(warp * place.group + g) * 2 + 1] = total;
  }
};

template <uint32_t HeadDim>
__device__ __forceinline__ void run_half(const kvq_cuda_attention &a, uint8_t *memory) {
  const block_place place(a);
  const uint32_t warp = threadIdx.x / 32, block_warps = blockDim.x / 32;
  uint8_t *keys = memory + warp * (4 * half_tile_tokens * HeadDim);
  float *sums = reinterpret_cast<float *>(memory), *totals = sums + block_warps * place.group * HeadDim;
  half_kernel<HeadDim> kernel = {a, place, keys, keys + 2 * half_tile_tokens * HeadDim, threadIdx.x % 32};
  kernel.run(sums, totals, reinterpret_cast<float *>(memory + half_queries_offset(HeadDim, block_warps)), warp);
  __syncthreads();
  write_partial<HeadDim>(a, place, blockIdx.x, block_warps, sums, totals);
  __syncthreads();
  merge_partials<HeadDim, false>(a, place, a.slots, sums, sums + most_slots(HeadDim) * place.group);
}

}  // namespace kvq_cuda

#define KVQ_HALF(head_dim) \
  KVQ_KERNEL(32 * kvq_cuda::half_warps(head_dim), 1) kvq_half_##head_dim(KVQ_PARAMETER kvq_cuda_attention a) { \
    KVQ_DYNAMIC_SHARED(memory); \
    kvq_cuda::run_half<head_dim>(a, memory); \
  }
KVQ_HALF(64)
KVQ_HALF(128)
KVQ_HALF(256)
