// Softmax and compressed values: kvq_values_{token,rotated}_<bits>_<headDim>, see attend.h. Blocks in front of the others take the exact chunks; the last block of a head merges.
//
// A warp takes one page at a time: 16 scores a lane, weights = 2^(score - maximum) times the token's scale, as 16-bit numbers (high and low byte) in units of the page's largest scale / 65535;
// integer products m16n8k32 of them (rows 0 .. 7 high bytes, rows 8 .. 15 low bytes of up to 8 queries) with levels as signed bytes, exact; sums in fp32.
//
// Thread map: lane (g, tig) holds query g and tokens 16 tig .. 16 tig + 15 of the weights, and of the codes the same four quads of tokens for channels 2 g and 2 g + 1 of every 16: 8-byte loads,
// straight to registers, one page ahead. Outliers go to sums in shared memory; lanes with the same channel take turns.
#pragma once

#include "cuda/attend/exact.cuh"
#include "cuda/attend/outliers.cuh"
#include "cuda/attend/value-codes.cuh"

namespace kvq_cuda {

template <uint32_t Bits, uint32_t HeadDim, bool Rotated>
struct value_page {
  using unit = value_unit<Bits>;
  static constexpr uint32_t units = HeadDim / 4 / unit::vectors; // of a lane's four quads
  uint2 codes[units][unit::rows];

  // Codes of the lane's four quads; the numbers of the page's tokens only come nearer.
  __device__ __forceinline__ void load(const uint8_t *block, uint32_t kv_heads, uint32_t head, uint32_t lane) {
    constexpr uint32_t head_bytes = codes_bytes(Bits, HeadDim);
    const uint8_t *own = block + size_t{head} * head_bytes + lane % 4 * (head_bytes / 4) + lane / 4 * 8;
#pragma unroll
    for (uint32_t u = 0; u < units; u++)
#pragma unroll
      for (uint32_t row = 0; row < unit::rows; row++) codes[u][row] = load_stream(reinterpret_cast<const uint2 *>(own + (u * unit::rows + row) * 64));
    if (lane < (Rotated ? 1 : 2)) prefetch(block + size_t{kv_heads} * head_bytes + lane * 128);
  }
};

template <uint32_t Bits, uint32_t HeadDim, bool Rotated>
struct value_kernel {
  using page_data = value_page<Bits, HeadDim, Rotated>;
  using unit = value_unit<Bits>;
  static constexpr uint32_t groups = HeadDim / 16; // of 16 channels
  static constexpr bool ahead = HeadDim < 256 && Bits < 5; // registers hold the next page's codes

  const kvq_cuda_attention &a;
  const block_place &place;
  uint8_t *memory;
  values_shared at;
  uint32_t lane, warp;

  float sums[groups][2][2]; // [16 channels][parity of the channel][column of the product]
  float most, total, zero_sum;

  __device__ __forceinline__ float *own_sums() const { return reinterpret_cast<float *>(memory + at.sums) + warp * place.group * HeadDim; }
  __device__ __forceinline__ float *own_weights() const { return reinterpret_cast<float *>(memory + at.weights) + warp * place.group * row_floats; }
  static __device__ __forceinline__ float number(const uint4 (&x)[2], uint32_t i) { return i & 1 ? high_half(part_of(x[i / 8], i / 2 % 4)) : low_half(part_of(x[i / 8], i / 2 % 4)); }

  // Raises the maximum of the lane's query; everything summed so far shrinks.
  __device__ __forceinline__ void raise(float page_most) {
    if (!__any_sync(~0u, page_most > most)) return;
    const float next = fmaxf(most, page_most), keep = power_of_two(most - next);
    most = next;
    total *= keep, zero_sum *= keep;
#pragma unroll
    for (uint32_t i = 0; i < groups; i++)
#pragma unroll
      for (uint32_t e = 0; e < 4; e++) sums[i][e / 2][e % 2] *= keep;
    if (!Rotated && a.value_outliers && lane / 4 < place.group) {
      float *row = own_sums() + lane / 4 * HeadDim;
      for (uint32_t channel = lane % 4; channel < HeadDim; channel += 4) row[channel] *= keep;
    }
    if (!Rotated) __syncwarp();
  }

  // Weights of the lane's query and 16 tokens, as bytes for the products: word n holds tokens 4 n .. 4 n + 3. Returns the unit of the products.
  __device__ __forceinline__ float weigh(const uint8_t *block, const float4 *scores, uint32_t (&high)[4], uint32_t (&low)[4]) {
    const uint4 *numbers = reinterpret_cast<const uint4 *>(block + size_t{a.kv_heads} * codes_bytes(Bits, HeadDim)) + lane % 4 * 2;
    const uint4 scales[2] = {load_table(numbers), load_table(numbers + 1)};
    uint4 zeros[2] = {};
    if (!Rotated) zeros[0] = load_table(numbers + 8), zeros[1] = load_table(numbers + 9);
    float score[16], page_most = no_score;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      const float4 x = lane / 4 < place.group ? load_written(scores + i) : make_float4(no_score, no_score, no_score, no_score);
      score[4 * i] = x.x, score[4 * i + 1] = x.y, score[4 * i + 2] = x.z, score[4 * i + 3] = x.w;
      page_most = fmaxf(page_most, fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)));
    }
    float largest = 0;
#pragma unroll
    for (uint32_t i = 0; i < 16; i++) largest = fmaxf(largest, fabsf(number(scales, i)));
#pragma unroll
    for (uint32_t distance = 1; distance < 4; distance *= 2) {
      page_most = fmaxf(page_most, __shfl_xor_sync(~0u, page_most, distance));
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
    }
    raise(page_most);
    // A weight of w and a scale of s become round(w * s / largest * 65535).
    const float to_whole = largest > 0 ? 65535.0f / largest : 0.0f, fold = power_of_two(page_most - most);
    float page_total = 0, page_zero = 0;
#pragma unroll
    for (uint32_t n = 0; n < 4; n++) {
      uint32_t whole[4];
      float weight[4];
#pragma unroll
      for (uint32_t b = 0; b < 4; b++) {
        const uint32_t i = 4 * n + b;
        weight[b] = power_of_two(score[i] - page_most);
        page_total += weight[b];
        if (!Rotated) page_zero += weight[b] * number(zeros, i);
        whole[b] = __float_as_uint(weight[b] * (number(scales, i) * to_whole) + 8388608.0f); // 2^23: the whole number stands in the low bits
      }
      const uint32_t x = pick_bytes(whole[0], whole[1], 0x5410), y = pick_bytes(whole[2], whole[3], 0x5410);
      low[n] = pick_bytes(x, y, 0x6420), high[n] = pick_bytes(x, y, 0x7531);
      if (!Rotated && a.value_outliers && lane / 4 < place.group)
        reinterpret_cast<float4 *>(own_weights() + lane / 4 * row_floats + lane % 4 * 16)[n] = make_float4(weight[0] * fold, weight[1] * fold, weight[2] * fold, weight[3] * fold);
    }
    total += page_total * fold;
    if (!Rotated) zero_sum += page_zero * fold;
    return largest * (1.0f / 65535 / 127) * fold; // levels are whole numbers, 127 times themselves
  }

  __device__ __forceinline__ void multiply(const page_data &page, const value_levels<Bits> &levels, const uint32_t (&high)[4], const uint32_t (&low)[4], float unit_weight) {
#pragma unroll
    for (uint32_t parity = 0; parity < 2; parity++) {
#pragma unroll
      for (uint32_t block = 0; block < groups; block += unit::vectors < groups ? unit::vectors : groups) {
#pragma unroll
        for (uint32_t pair = 0; pair < (unit::vectors < groups ? unit::vectors : groups) / 2; pair++) {
          uint32_t even[4], odd[4];
#pragma unroll
          for (uint32_t quad = 0; quad < 4; quad++) {
            const uint32_t vector = quad * groups + block, index = vector / unit::vectors;
            uint32_t row[unit::rows];
#pragma unroll
            for (uint32_t r = 0; r < unit::rows; r++) row[r] = parity ? page.codes[index][r].y : page.codes[index][r].x;
            levels.of_pair(row, vector % unit::vectors / 2 + pair, even[quad], odd[quad]);
          }
          int first[4] = {}, second[4] = {};
#pragma unroll
          for (uint32_t quad = 0; quad < 4; quad += 2) {
            multiply_bytes(first, high[quad], low[quad], high[quad + 1], low[quad + 1], even[quad], even[quad + 1]);
            multiply_bytes(second, high[quad], low[quad], high[quad + 1], low[quad + 1], odd[quad], odd[quad + 1]);
          }
          add(sums[block + unit::even(pair)][parity], first, unit_weight);
          add(sums[block + unit::odd(pair)][parity], second, unit_weight);
        }
      }
    }
  }
  static __device__ __forceinline__ void add(float (&sum)[2], const int (&product)[4], float unit_weight) {
    sum[0] += unit_weight * static_cast<float>(product[0] * 256 + product[2]);
    sum[1] += unit_weight * static_cast<float>(product[1] * 256 + product[3]);
  }

  __device__ __forceinline__ const uint8_t *section_of(const kvq_cuda_page *from) const {
    const kvq_cuda_page page = load_page(from);
    return page.value + load_table(page.outliers + a.kv_heads + place.head);
  }
  // The query whose weights the lane reads, recomputed each time: kept, it would be the register too many on sm_80.
  __device__ __forceinline__ uint32_t own_query() const { return min(lane / 4, place.group - 1); }
  __device__ __forceinline__ uint8_t *own_tokens() const { return memory + at.tokens + warp * most_outliers; }
  __device__ __forceinline__ void add_outliers(const outlier_section &section) const {
    const uint8_t *token_of = own_tokens();
    const float *weights = own_weights();
    float *to = own_sums();
    section.each(lane, [&](bool present, uint32_t entry, float delta, uint32_t channel) {
      const uint32_t token = token_of[entry];
      take_turns(present, channel, lane, [&] {
#pragma unroll 1
        for (uint32_t g = 0; g < place.group; g++) to[g * HeadDim + channel] += delta * weights[g * row_floats + token];
      });
    });
    __syncwarp();
  }

  __device__ __forceinline__ void run(uint32_t split) {
    const value_levels<Bits> levels(a.value_levels);
    const kvq_cuda_page *table = load_pages(a.tables + place.sequence);
    const uint32_t step = a.page_splits * warps, end = min(load_table(&a.tables[place.sequence].count), a.window_first + a.window_pages);
    uint32_t index = a.window_first + split * warps + warp;
    page_data data;
    const uint8_t *next = nullptr, *section = nullptr, *next_section = nullptr;
    const bool sparse = !Rotated && a.value_outliers;
    outlier_section outliers;
    if (sparse && index < end) {
      section = section_of(table + index);
      if (index + step < end) next_section = section_of(table + index + step);
    }
    if (ahead && index < end) {
      data.load(load_page(table + index).value, a.kv_heads, place.head, lane);
      if (index + step < end) next = load_page(table + index + step).value;
    }
    for (uint32_t i = lane; i < place.group * HeadDim; i += 32) own_sums()[i] = 0;
    __syncwarp();
    await_previous_kernel();
    for (; index < end; index += step) {
      if (sparse) {
        outliers.ask_counts(section, lane);
        section = next_section;
        if (index + step < end && lane < 4) prefetch(section + 128 * lane);
        if (index + 2 * step < end) next_section = section_of(table + index + 2 * step);
      }
      uint32_t high[4], low[4];
      const float unit_weight = weigh(load_page(table + index).value, reinterpret_cast<const float4 *>(scores_of(a, place, index) + own_query() * page_tokens + lane % 4 * 16), high, low);
      if (sparse) outliers.ask_entries(lane, own_tokens());
      if (!ahead) data.load(load_page(table + index).value, a.kv_heads, place.head, lane);
      multiply(data, levels, high, low, unit_weight);
      if (ahead && index + step < end) data.load(next, a.kv_heads, place.head, lane);
      if (ahead && index + 2 * step < end) next = load_page(table + index + 2 * step).value;
      if (sparse) add_outliers(outliers);
    }
    finish();
  }

  // Adds the lane's sums to the warp's in shared memory, and the warp's total.
  __device__ __forceinline__ void finish() {
#pragma unroll
    for (uint32_t distance = 1; distance < 4; distance *= 2) {
      total += __shfl_xor_sync(~0u, total, distance);
      zero_sum += __shfl_xor_sync(~0u, zero_sum, distance);
    }
    const uint32_t g = lane / 4, tig = lane % 4;
    if (g >= place.group) return;
    float *row = own_sums() + g * HeadDim;
#pragma unroll
    for (uint32_t i = 0; i < groups; i++)
#pragma unroll
      for (uint32_t e = 0; e < 2; e++)
#pragma unroll
        for (uint32_t parity = 0; parity < 2; parity++) row[i * 16 + 4 * tig + 2 * e + parity] += sums[i][parity][e] + (Rotated ? 0.0f : zero_sum);
    if (tig == 0) {
      float *totals = reinterpret_cast<float *>(memory + at.totals) + (warp * place.group + g) * 2;
      totals[0] = most, totals[1] = total;
    }
  }
};

template <uint32_t Bits, uint32_t HeadDim, bool Rotated>
__device__ __forceinline__ void run_values(const kvq_cuda_attention &a, uint8_t *memory) {
  const block_place place(a);
  const values_shared at = values_shared_of(HeadDim, Rotated, place.group);
  float *sums = reinterpret_cast<float *>(memory + at.sums), *totals = reinterpret_cast<float *>(memory + at.totals);
  if (blockIdx.x < a.exact_blocks) {
    const kvq_cuda_exact chunk = load_exact(a.exact + place.sequence * a.exact_slots + blockIdx.x);
    attend_exact<HeadDim>(a, place, chunk, sums, totals, reinterpret_cast<float *>(memory + at.queries));
  } else {
    const uint32_t split = blockIdx.x - a.exact_blocks;
    value_kernel<Bits, HeadDim, Rotated> kernel = {a, place, memory, at, threadIdx.x % 32, threadIdx.x / 32, {}, no_score, 0, 0};
    kernel.run(split);
  }
  __syncthreads();
  write_partial<HeadDim>(a, place, blockIdx.x < a.exact_blocks ? blockIdx.x : a.first_slot + blockIdx.x - a.exact_blocks, warps, sums, totals);
  __syncthreads();
  merge_partials<HeadDim, Rotated>(a, place, a.exact_slots, sums, reinterpret_cast<float *>(memory + at.merge));
}

}  // namespace kvq_cuda

#define KVQ_VALUES(family, rotated, bits, head_dim) \
  KVQ_KERNEL(kvq_cuda::threads, kvq_cuda::resident_blocks(head_dim, bits)) kvq_values_##family##_##bits##_##head_dim(KVQ_PARAMETER kvq_cuda_attention a) { \
    KVQ_DYNAMIC_SHARED(memory); \
    kvq_cuda::run_values<bits, head_dim, rotated>(a, memory); \
  }
