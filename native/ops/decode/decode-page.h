// Decodes pages to rows of fp32 (docs/format.md section 2.5): codes to a tile [head_dim][64], where a lane is a token, then to rows; outliers last.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/codec.h"
#include "ops/decode/add-outliers.h"
#include "ops/decode/unpack-codes.h"
#include "ops/page/codec-scratch.h"
#include "ops/page/hadamard.h"
#include "ops/page/page-scale.h"
#include "ops/page/tile.h"

namespace {

template <uint32_t Bits>
inline void decode_keys_of(const kvq_key_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch_memory) {
  const kvq_block_layout layout = kvq_key_layout(&plan);
  const uint32_t head_dim = plan.head_dim;
  const size_t columns = static_cast<size_t>(plan.kv_heads) * head_dim;
  const code_channels channels(head_dim, plan.rotary_dim);
  const lanes::book<Bits> book(plan.midpoints, plan.levels);
  const codec_scratch scratch(scratch_memory, plan.kv_heads, head_dim);
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    const size_t first = static_cast<size_t>(head) * head_dim;
    const uint8_t *packed = block + kvq_head_offset(&layout, head);
    const uint8_t *side = packed + layout.codes_bytes;
    unpack_keys<Bits>(packed, head_dim, channels, scratch.codes);
    for (uint32_t code = 0; code < head_dim; code++) {
      const uint32_t channel = channels.of[code];
      const float a = plan.scale[first + channel];
      const float z = plan.zero[first + channel];
      const lanes::floats scale = lanes::all(plan.page_scales ? page_scale(a, side[code]) : a);
      const lanes::floats zero = lanes::all(plan.page_scales ? page_zero(a, z, side[head_dim + code]) : z);
      const uint8_t *const codes = scratch.codes + channel * KVQ_PAGE_TOKENS;
      for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width)
        lanes::store(scratch.tiles + channel * KVQ_PAGE_TOKENS + token, book.decode(lanes::load_codes(codes + token)) * scale + zero);
    }
    store_tile(scratch.tiles, head_dim, tokens, out + first, columns);
    if (plan.outliers) add_outliers(block + outlier_offsets[head], tokens, out + first, columns, [&](uint32_t code) { return channels.of[code]; });
  }
}

template <uint32_t Bits>
inline void decode_values_of(const kvq_value_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch_memory) {
  const kvq_block_layout layout = kvq_value_layout(&plan);
  const uint32_t head_dim = plan.head_dim;
  const size_t columns = static_cast<size_t>(plan.kv_heads) * head_dim;
  const lanes::book<Bits> book(plan.midpoints, plan.levels);
  const codec_scratch scratch(scratch_memory, plan.kv_heads, head_dim);
  const uint8_t *numbers = block + kvq_token_data_offset(&layout);
  float scale[KVQ_PAGE_TOKENS], zero[KVQ_PAGE_TOKENS];
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) {
    scale[token] = float_of_half(read_half(numbers + 2 * token));
    zero[token] = plan.rotated ? 0.0f : float_of_half(read_half(numbers + 2 * (KVQ_PAGE_TOKENS + token)));
  }
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    const size_t first = static_cast<size_t>(head) * head_dim;
    unpack_values<Bits>(block + kvq_head_offset(&layout, head), head_dim, scratch.vectors, scratch.codes);
    for (uint32_t channel = 0; channel < head_dim; channel++) {
      const size_t row = static_cast<size_t>(channel) * KVQ_PAGE_TOKENS;
      for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
        const lanes::floats scaled = book.decode(lanes::load_codes(scratch.codes + row + token)) * lanes::load(scale + token);
        lanes::store(scratch.tiles + row + token, plan.rotated ? scaled * lanes::all(plan.deviation[first + channel]) + lanes::all(plan.mean[first + channel]) : scaled + lanes::load(zero + token));
      }
    }
    if (plan.rotated) apply_hadamard(scratch.tiles, head_dim);
    store_tile(scratch.tiles, head_dim, tokens, out + first, columns);
    if (layout.outliers) add_outliers(block + outlier_offsets[head], tokens, out + first, columns, [](uint32_t channel) { return channel; });
  }
}

inline void decode_keys_page(const kvq_key_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  switch (plan.bits) {
    case 2: return decode_keys_of<2>(plan, block, tokens, outlier_offsets, out, scratch);
    case 3: return decode_keys_of<3>(plan, block, tokens, outlier_offsets, out, scratch);
    case 4: return decode_keys_of<4>(plan, block, tokens, outlier_offsets, out, scratch);
    case 5: return decode_keys_of<5>(plan, block, tokens, outlier_offsets, out, scratch);
  }
}

inline void decode_values_page(const kvq_value_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  switch (plan.bits) {
    case 2: return decode_values_of<2>(plan, block, tokens, outlier_offsets, out, scratch);
    case 3: return decode_values_of<3>(plan, block, tokens, outlier_offsets, out, scratch);
    case 4: return decode_values_of<4>(plan, block, tokens, outlier_offsets, out, scratch);
    case 5: return decode_values_of<5>(plan, block, tokens, outlier_offsets, out, scratch);
  }
}

}  // namespace
