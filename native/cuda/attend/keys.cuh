// Scores of compressed keys: kvq_keys_{channel,page}_<bits>_<headDim>, see attend.h.
//
// A warp takes one page of one KV head at a time and serves up to 8 query heads with tensor-core products m16n8k16: rows are tokens, columns queries, the sum runs over channels.
//   score(token) = sum over pairs of cos * (k1 x + k2 y) + sin * (k1 y - k2 x)
// where (x, y) is the query turned back by the angle of the page's middle and cos, sin belong to the token's distance from it. With k = level * scale + zero the scale goes into the query,
//   level part: two products with (x s1, y s2) and (y s1, -x s2), the levels times cos and times sin in fp16 (levels are whole numbers up to 127: exact)
//   zero part:  one product of (cos, sin) with (z1 x + z2 y, z1 y - z2 x), in two fp16 terms: zero points may be a hundred times the range
// so that nothing but a table look-up and two multiplications is left for a pair of codes. Scale, zero and turn of the query cost 1 / group of what they would inside: lanes divide the
// pairs, for all queries, and pass the result through shared memory in fragment order.
//
// Thread map: lane (g, tig) = (lane / 4, lane % 4) owns code groups tig, tig + 4, .. and the 8 page lanes (tokens) 8 g .. 8 g + 7: its codes are 16-byte loads that a warp makes in whole sectors,
// straight to registers, one page ahead.
#pragma once

#include "cuda/attend/block.cuh"
#include "cuda/attend/key-codes.cuh"
#include "cuda/attend/offset-angles.h"
#include "cuda/attend/outliers.cuh"

namespace kvq_cuda {

// What a lane holds of a page while the page before is worked on.
template <uint32_t Bits, uint32_t HeadDim>
struct key_page {
  static constexpr uint32_t slices = HeadDim / 64; // of four code groups
  static constexpr uint32_t quads = (HeadDim / 4 + 31) / 32; // of four codes (two pairs) a lane prepares
  uint4 codes[slices][Bits];
  uint32_t exponents[quads], offsets[quads]; // page scales

  // Code groups of the lane, and its share of the page's scales.
  template <bool PageScales>
  __device__ __forceinline__ void load(const uint8_t *keys, uint32_t head, uint32_t lane) {
    constexpr uint32_t head_bytes = codes_bytes(Bits, HeadDim) + (PageScales ? 2 * HeadDim : 0);
    const uint8_t *block = keys + size_t{head} * head_bytes;
    const uint8_t *own = block + lane % 4 * (Bits * 128) + lane / 4 * 16;
#pragma unroll
    for (uint32_t slice = 0; slice < slices; slice++)
#pragma unroll
      for (uint32_t word = 0; word < Bits; word++) codes[slice][word] = load_stream(reinterpret_cast<const uint4 *>(own + (slice * 4 * Bits + word) * 128));
#pragma unroll
    for (uint32_t i = 0; i < quads; i++) {
      const uint32_t quad = lane + 32 * i;
      if (quad * 4 >= HeadDim) break;
      if (PageScales) {
        exponents[i] = load_table(reinterpret_cast<const uint32_t *>(block + codes_bytes(Bits, HeadDim)) + quad);
        offsets[i] = load_table(reinterpret_cast<const uint32_t *>(block + codes_bytes(Bits, HeadDim) + HeadDim) + quad);
      }
    }
  }
};

template <uint32_t Bits, uint32_t HeadDim, bool PageScales>
struct key_kernel {
  using page_data = key_page<Bits, HeadDim>;
  static constexpr uint32_t slices = page_data::slices;

  const kvq_cuda_attention &a;
  uint8_t *memory;
  keys_shared at;
  uint32_t lane, head, group;

  __device__ __forceinline__ uint8_t *own(uint32_t offset) const { return memory + at.warp + threadIdx.x / 32 * at.warp_bytes + offset; }

  // The query turned to the page's middle, times the scales, for the products: entry [quad][query].
  __device__ __forceinline__ void turn_queries(const page_data &page, uint32_t angle_row) const {
#pragma unroll
    for (uint32_t i = 0; i < page_data::quads; i++) {
      const uint32_t quad = lane + 32 * i;
      if (quad * 4 >= HeadDim) break;
      float4 scale = load_table(reinterpret_cast<const float4 *>(a.key_scale + size_t{head} * HeadDim) + quad);
      float4 zero = load_table(reinterpret_cast<const float4 *>(a.key_zero + size_t{head} * HeadDim) + quad);
      if (PageScales) {
        const auto scale_of = [&](float &s, float &z, uint32_t byte) {
          const float exponent = static_cast<float>(page.exponents[i] >> (8 * byte) & 255), n = static_cast<float>(page.offsets[i] >> (8 * byte) & 255);
          z += s * ((n - 128.0f) * (1.0f / 64));
          s *= power_of_two(exponent * (1.0f / 16) - 12.0f);
        };
        scale_of(scale.x, zero.x, 0), scale_of(scale.y, zero.y, 1), scale_of(scale.z, zero.z, 2), scale_of(scale.w, zero.w, 3);
      }
      const float4 c = load_table(reinterpret_cast<const float4 *>(a.page_angles + size_t{angle_row} * HeadDim) + quad);
      constexpr float unit = 1.0f / 127;
      scale.x *= unit, scale.y *= unit, scale.z *= unit, scale.w *= unit;
      const float4 *from = reinterpret_cast<const float4 *>(memory + at.queries) + quad;
      uint4 *turned = reinterpret_cast<uint4 *>(own(at.turned)) + place_of(quad);
      uint4 *zeros = reinterpret_cast<uint4 *>(own(at.zeros)) + place_of(quad);
#pragma unroll 1
      for (uint32_t g = 0; g < group; g++) {
        const float4 q = from[g * (HeadDim / 4)];
        const float x0 = q.x * c.x + q.y * c.y, y0 = q.y * c.x - q.x * c.y, x1 = q.z * c.z + q.w * c.w, y1 = q.w * c.z - q.z * c.w;
        turned[g * 4] = make_uint4(pack_halves(x0 * scale.x, y0 * scale.y), pack_halves(x1 * scale.z, y1 * scale.w), pack_halves(y0 * scale.x, -x0 * scale.y),
                                   pack_halves(y1 * scale.z, -x1 * scale.w));
        const float a0 = zero.x * x0 + zero.y * y0, b0 = zero.x * y0 - zero.y * x0, a1 = zero.z * x1 + zero.w * y1, b1 = zero.z * y1 - zero.w * x1;
        const uint32_t h0 = pack_halves(a0, b0), h1 = pack_halves(a1, b1);
        zeros[g * 4] = make_uint4(h0, h1, pack_halves(a0 - low_half(h0), b0 - high_half(h0)), pack_halves(a1 - low_half(h1), b1 - high_half(h1)));
      }
    }
  }
  // Entries [slice][pair of pairs][query][tig]: what a warp loads at once lies side by side.
  __device__ __forceinline__ uint32_t place_of(uint32_t quad) const { return (quad / 16 * 4 + quad % 4) * group * 4 + quad / 4 % 4; }

  // scores [4 token pairs of the lane's 8 page lanes] as product fragments.
  __device__ __forceinline__ void score(const page_data &page, float (&scores)[4][4]) const {
    const uint32_t g = lane / 4, column = g < group ? g : group - 1, tig = lane % 4;
    const uint8_t *levels = memory + 4 * lane;
    const uint4 *angles = reinterpret_cast<const uint4 *>(memory + at.angles) + lane;
    const uint4 *turned = reinterpret_cast<const uint4 *>(own(at.turned)) + column * 4 + tig;
    const uint4 *zeros = reinterpret_cast<const uint4 *>(own(at.zeros)) + column * 4 + tig;
#pragma unroll
    for (uint32_t slice = 0; slice < slices; slice++) {
#pragma unroll
      for (uint32_t pair = 0; pair < 8; pair += 2) {
        const uint4 q = turned[(slice * 4 + pair / 2) * group * 4], z = zeros[(slice * 4 + pair / 2) * group * 4];
#pragma unroll
        for (uint32_t tokens = 0; tokens < 4; tokens++) { // page lanes 8 g + 2 tokens (rows 0 .. 7) and the next (rows 8 .. 15)
          const uint4 c = angles[(slice * 16 + pair * 2 + tokens) * 32];
          uint32_t word[Bits];
#pragma unroll
          for (uint32_t w = 0; w < Bits; w++) word[w] = part(page.codes[slice][w], tokens);
          const uint32_t k00 = pair_levels<Bits>(levels, word, 0, pair), k01 = pair_levels<Bits>(levels, word, 16, pair);
          const uint32_t k10 = pair_levels<Bits>(levels, word, 0, pair + 1), k11 = pair_levels<Bits>(levels, word, 16, pair + 1);
          multiply_halves(scores[tokens], times_low(k00, c.x), times_low(k01, c.y), times_low(k10, c.z), times_low(k11, c.w), q.x, q.y);
          multiply_halves(scores[tokens], times_high(k00, c.x), times_high(k01, c.y), times_high(k10, c.z), times_high(k11, c.w), q.z, q.w);
          multiply_halves(scores[tokens], c.x, c.y, c.z, c.w, z.x, z.y);
          multiply_halves(scores[tokens], c.x, c.y, c.z, c.w, z.z, z.w);
        }
      }
    }
  }
  static __device__ __forceinline__ uint32_t part(const uint4 &x, uint32_t i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }

  // Scores of the lane's two queries for its 8 tokens, in token order: page lanes 0 .. 31 are tokens 31 .. 0.
  __device__ __forceinline__ void write(float (&scores)[4][4], uint32_t tokens, float *to, uint32_t stride) const {
    const uint32_t g = lane / 4;
    const uint32_t first = g < 4 ? 24 - 8 * g : 8 * g;
#pragma unroll
    for (uint32_t e = 0; e < 2; e++) {
      const uint32_t query = 2 * (lane % 4) + e;
      if (query >= group) break;
      float row[8];
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) {
        const float down = scores[(7 - i) / 2][(7 - i) % 2 * 2 + e], up = scores[i / 2][i % 2 * 2 + e];
        row[i] = first + i >= tokens ? no_score : g < 4 ? down : up;
      }
      float4 *place = reinterpret_cast<float4 *>(to + query * stride + first);
      place[0] = make_float4(row[0], row[1], row[2], row[3]);
      place[1] = make_float4(row[4], row[5], row[6], row[7]);
    }
  }

  // Adds delta * (query at the token's angle)[channel] to the scores of a page in shared memory.
  __device__ __forceinline__ const uint8_t *section_of(const kvq_cuda_page *from) const {
    const kvq_cuda_page page = load_page(from);
    return page.key + load_table(page.outliers + head);
  }
  __device__ __forceinline__ void add_outliers(const outlier_section &section, uint32_t angle_row, float *scores) const {
    const uint8_t *token_of = own(at.tokens);
    const uint32_t *offset_angles = reinterpret_cast<const uint32_t *>(memory + at.angles);
    const float2 *rotated = reinterpret_cast<const float2 *>(memory + at.queries);
    section.each(lane, [&](bool present, uint32_t entry, float delta, uint32_t code) {
      const uint32_t token = present ? token_of[entry] : page_tokens, pair = code / 2;
      const uint32_t offset = offset_angles[offset_angle_index(pair, token < 32 ? 31 - token : token % page_tokens)];
      const float2 base = load_table(reinterpret_cast<const float2 *>(a.page_angles + size_t{angle_row} * HeadDim) + pair);
      const float cosine = base.x * low_half(offset) - base.y * high_half(offset), sine = base.y * low_half(offset) + base.x * high_half(offset);
      const float cx = (code & 1 ? -sine : cosine) * delta, cy = (code & 1 ? cosine : sine) * delta;
      const uint32_t others = __match_any_sync(~0u, token);
      const bool last = present && (others >> lane) == 1; // of the token's entries here: adds the sum of all
#pragma unroll 1
      for (uint32_t g = 0; g < group; g++) {
        const float2 q = rotated[g * (HeadDim / 2) + pair];
        const float sum = sum_of_run(q.x * cx + q.y * cy, others, lane);
        if (last) scores[g * row_floats + token] += sum;
      }
      __syncwarp();
    });
  }

  __device__ __forceinline__ void run(const block_place &place) const {
    const kvq_cuda_page *table = load_pages(a.tables + place.sequence);
    const uint32_t step = gridDim.x * warps, end = min(load_table(&a.tables[place.sequence].count), a.window_first + a.window_pages);
    uint32_t index = a.window_first + blockIdx.x * warps + threadIdx.x / 32;
    const bool sparse = !PageScales && a.key_outliers;
    page_data data;
    const uint8_t *next = nullptr, *section = nullptr, *next_section = nullptr;
    outlier_section outliers;
    fill_level_table<Bits>(reinterpret_cast<uint4 *>(memory + at.levels), a.key_levels, threadIdx.x, threads);
    for (uint32_t i = threadIdx.x; i < HeadDim * 8; i += threads) reinterpret_cast<uint4 *>(memory + at.angles)[i] = load_table(reinterpret_cast<const uint4 *>(a.offset_angles) + i);
    float2 *rotated = reinterpret_cast<float2 *>(memory + at.queries);
    if (index < end) {
      const kvq_cuda_page page = load_page(table + index);
      data.template load<PageScales>(page.key, head, lane);
      prefetch(a.page_angles + size_t{page.angle_row} * HeadDim + lane * (HeadDim / 32));
      if (index + step < end) next = load_page(table + index + step).key;
      if (sparse) {
        section = section_of(table + index);
        if (index + step < end) next_section = section_of(table + index + step);
      }
    }
    rotate_queries<HeadDim>(a, place, a.scale, [&](uint32_t g, uint32_t pair, float x, float y) { rotated[g * (HeadDim / 2) + pair] = make_float2(x, y); });
    __syncthreads();
    start_next_kernel();
    for (; index < end; index += step) {
      if (sparse) {
        outliers.ask_counts(section, lane);
        section = next_section;
        if (index + step < end && lane < 4) prefetch(section + 128 * lane);
        if (index + 2 * step < end) next_section = section_of(table + index + 2 * step);
      }
      turn_queries(data, load_page(table + index).angle_row);
      __syncwarp();
      if (sparse) outliers.ask_entries(lane, own(at.tokens));
      float scores[4][4] = {};
      score(data, scores);
      if (index + step < end) {
        data.template load<PageScales>(next, head, lane);
        prefetch(a.page_angles + size_t{load_page(table + index + step).angle_row} * HeadDim + lane * (HeadDim / 32));
      }
      float *to = scores_of(a, place, index);
      const uint32_t tokens = load_page(table + index).tokens;
      if (!sparse) {
        write(scores, tokens, to, page_tokens);
      } else {
        float *tile = reinterpret_cast<float *>(own(at.scores));
        write(scores, tokens, tile, row_floats);
        __syncwarp();
        add_outliers(outliers, load_page(table + index).angle_row, tile);
        for (uint32_t i = lane; i < group * 16; i += 32) reinterpret_cast<float4 *>(to)[i] = *reinterpret_cast<const float4 *>(tile + i / 16 * row_floats + i % 16 * 4);
      }
      __syncwarp();
      if (index + 2 * step < end) next = load_page(table + index + 2 * step).key;
    }
  }
};

template <uint32_t Bits, uint32_t HeadDim, bool PageScales>
__device__ __forceinline__ void run_keys(const kvq_cuda_attention &a, uint8_t *memory) {
  const block_place place(a);
  const key_kernel<Bits, HeadDim, PageScales> kernel = {a, memory, keys_shared_of(Bits, HeadDim, PageScales, place.group), threadIdx.x % 32, place.head, place.group};
  kernel.run(place);
}

}  // namespace kvq_cuda

#define KVQ_KEYS(family, page_scales, bits, head_dim) \
  KVQ_KERNEL(kvq_cuda::threads, kvq_cuda::resident_blocks(head_dim, bits)) kvq_keys_##family##_##bits##_##head_dim(KVQ_PARAMETER kvq_cuda_attention a) { \
    KVQ_DYNAMIC_SHARED(memory); \
    kvq_cuda::run_keys<bits, head_dim, page_scales>(a, memory); \
  }
