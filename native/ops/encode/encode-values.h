// Encodes the values of a page (docs/format.md sections 2.3 and 2.4): per token, or rotated. A lane is a token.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kvquant/codec.h"
#include "ops/encode/largest-deviations.h"
#include "ops/encode/outlier-section.h"
#include "ops/encode/pack-values.h"
#include "ops/page/codec-scratch.h"
#include "ops/encode/token-numbers.h"
#include "ops/page/hadamard.h"
#include "ops/page/tile.h"

namespace {

// Codes of a tile: count of midpoints below (x - zero) * inverse, or x * inverse without zero points (which are NULL then).
template <uint32_t Bits>
inline void round_tile(const lanes::book<Bits> &book, const float *tile, uint32_t head_dim, uint32_t tokens, const float *zero, const float *inverse, uint8_t *codes) {
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
    const lanes::floats factor = lanes::load(inverse + token);
    const lanes::floats center = zero == nullptr ? lanes::all(0.0f) : lanes::load(zero + token);
    for (uint32_t channel = 0; channel < head_dim; channel++) {
      const lanes::floats x = lanes::load(tile + channel * KVQ_PAGE_TOKENS + token);
      lanes::store_codes(codes + channel * KVQ_PAGE_TOKENS + token, book.find((x - center) * factor));
    }
  }
  for (uint32_t channel = 0; tokens < KVQ_PAGE_TOKENS && channel < head_dim; channel++) memset(codes + channel * KVQ_PAGE_TOKENS + tokens, 0, KVQ_PAGE_TOKENS - tokens);
}

// One head of a page of values per token.
struct value_head {
  const float *tile;      // [head_dim][64]
  const uint8_t *codes;   // [head_dim][64]
  const uint16_t *chosen; // outlier bits of the head's channels in token 0
  size_t chosen_stride;   // from token to token
  uint32_t head_dim, tokens;
};

// Writes a head's outlier section: all chosen channels of a token, or the 15 largest |x_n|; adds the others to `saturated`. Returns its bytes.
inline size_t write_value_outliers(const value_head &head, const float *levels, const token_number &scale, const token_number &zero, uint8_t *out, uint32_t &saturated) {
  uint16_t kept[KVQ_PAGE_TOKENS][maximum_head_dim / 16];
  uint8_t counts[KVQ_PAGE_TOKENS] = {};
  const uint32_t words = head.head_dim / 16;
  for (uint32_t token = 0; token < head.tokens; token++) {
    const uint16_t *chosen = head.chosen + token * head.chosen_stride;
    uint32_t count = 0;
    for (uint32_t word = 0; word < words; word++) {
      kept[token][word] = chosen[word];
      count += static_cast<uint32_t>(__builtin_popcount(chosen[word]));
    }
    counts[token] = static_cast<uint8_t>(count < KVQ_OUTLIER_SLOTS ? count : KVQ_OUTLIER_SLOTS);
    if (count <= KVQ_OUTLIER_SLOTS) continue;
    saturated += count - KVQ_OUTLIER_SLOTS;
    slot_ranking ranking;
    for (uint32_t channel = 0; channel < head.head_dim; channel++) {
      if (!(chosen[channel / 16] >> channel % 16 & 1)) continue;
      ranking.offer(__builtin_fabsf((head.tile[channel * KVQ_PAGE_TOKENS + token] - zero.value[token]) * inverse_of(scale.value[token])), channel);
    }
    for (uint32_t word = 0; word < words; word++) kept[token][word] = 0;
    for (uint32_t place = 0; place < ranking.held(); place++) kept[token][ranking.index(place) / 16] |= static_cast<uint16_t>(1u << ranking.index(place) % 16);
  }
  outlier_section section(out, counts);
  size_t entry = 0;
  for (uint32_t token = 0; token < head.tokens; token++) {
    for (uint32_t word = 0; word < words; word++) {
      for (uint32_t bits = kept[token][word]; bits != 0; bits &= bits - 1) {
        const uint32_t channel = 16 * word + static_cast<uint32_t>(__builtin_ctz(bits));
        const size_t place = channel * KVQ_PAGE_TOKENS + token;
        const float decoded = levels[head.codes[place]] * scale.value[token] + zero.value[token];
        section.put(entry++, finite_half_of_float(head.tile[place] - decoded), channel);
      }
    }
  }
  return section.bytes();
}

template <uint32_t Bits>
inline void encode_token_values(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, codec_scratch &scratch, kvq_encoded &encoded) {
  const kvq_block_layout layout = kvq_value_layout(&plan);
  const uint32_t head_dim = plan.head_dim;
  const uint32_t columns = plan.kv_heads * head_dim;
  const size_t head_size = static_cast<size_t>(head_dim) * KVQ_PAGE_TOKENS;
  const lanes::book<Bits> book(plan.midpoints, plan.levels);
  float sum[KVQ_PAGE_TOKENS] = {};
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    load_tile(x + head * head_dim, columns, tokens, head_dim, scratch.tiles + head * head_size);
    if (plan.outlier_count > 0) add_channels(scratch.tiles + head * head_size, head_dim, sum);
  }

  token_number scale, zero;
  float inverse[KVQ_PAGE_TOKENS] = {};
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) scale.value[token] = zero.value[token] = 0.0f;
  for (uint32_t token = 0; token < tokens; token++) {
    const float *row = x + static_cast<size_t>(token) * columns;
    uint16_t *chosen = plan.outlier_count > 0 ? scratch.chosen + token * (columns / 16) : nullptr;
    if (chosen != nullptr) choose_largest_deviations(row, columns, sum[token] / static_cast<float>(columns), plan.outlier_count, scratch.deviations, scratch.places, chosen);
    float low, high;
    range_without(row, columns, chosen, low, high);
    // + 0 makes -0, which depends on the order of comparisons, 0.
    scale.set(token, (high - low) / 2.0f + 0.0f);
    zero.set(token, (high + low) / 2.0f + 0.0f);
    inverse[token] = inverse_of(scale.value[token]);
  }

  encoded = {kvq_outliers_offset(&layout), 0, 0};
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    const float *tile = scratch.tiles + head * head_size;
    round_tile<Bits>(book, tile, head_dim, tokens, zero.value, inverse, scratch.codes);
    pack_values<Bits>(scratch.codes, head_dim, scratch.vectors, out + kvq_head_offset(&layout, head));
    if (layout.outliers == 0) continue;
    const value_head part = {tile, scratch.codes, scratch.chosen + head * (head_dim / 16), columns / 16, head_dim, tokens};
    encoded.bytes += write_value_outliers(part, plan.levels, scale, zero, out + encoded.bytes, encoded.saturated);
  }
  uint8_t *numbers = out + kvq_token_data_offset(&layout);
  scale.write(numbers, tokens);
  zero.write(numbers + 2 * KVQ_PAGE_TOKENS, tokens);
}

// y = (u - mean) * (1 / deviation) in place of a rotated tile u; adds y * y of each channel to `squares` [64] in channel order.
inline void standardise(float *tile, uint32_t head_dim, const float *mean, const float *deviation, float *squares) {
  lanes::floats total[page_vectors];
  for (uint32_t vector = 0; vector < page_vectors; vector++) total[vector] = lanes::load(squares + vector * lanes::width);
  for (uint32_t channel = 0; channel < head_dim; channel++) {
    const lanes::floats center = lanes::all(mean[channel]);
    const lanes::floats inverse = lanes::all(inverse_of(deviation[channel]));
    float *const row = tile + channel * KVQ_PAGE_TOKENS;
    for (uint32_t vector = 0; vector < page_vectors; vector++) {
      const lanes::floats y = (lanes::load(row + vector * lanes::width) - center) * inverse;
      lanes::store(row + vector * lanes::width, y);
      total[vector] = total[vector] + y * y;
    }
  }
  for (uint32_t vector = 0; vector < page_vectors; vector++) lanes::store(squares + vector * lanes::width, total[vector]);
}

// KVQ_INVALID_ARGUMENT when sums of the rotation have overflowed and a token's number is none.
template <uint32_t Bits>
inline kvq_status encode_rotated_values(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, codec_scratch &scratch, kvq_encoded &encoded) {
  const kvq_block_layout layout = kvq_value_layout(&plan);
  const uint32_t head_dim = plan.head_dim;
  const uint32_t columns = plan.kv_heads * head_dim;
  const size_t head_size = static_cast<size_t>(head_dim) * KVQ_PAGE_TOKENS;
  const lanes::book<Bits> book(plan.midpoints, plan.levels);
  float squares[KVQ_PAGE_TOKENS] = {};
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    float *const tile = scratch.tiles + head * head_size;
    load_tile(x + head * head_dim, columns, tokens, head_dim, tile);
    apply_hadamard(tile, head_dim);
    standardise(tile, head_dim, plan.mean + head * head_dim, plan.deviation + head * head_dim, squares);
  }

  token_number span;
  float inverse[KVQ_PAGE_TOKENS] = {};
  for (uint32_t token = 0; token < tokens; token++) {
    span.set(token, 3.0f * __builtin_sqrtf(squares[token] / static_cast<float>(columns)));
    if (!half_is_finite(span.bits[token])) return KVQ_INVALID_ARGUMENT;
    inverse[token] = inverse_of(span.value[token]);
  }

  encoded = {kvq_outliers_offset(&layout), 0, 0};
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    round_tile<Bits>(book, scratch.tiles + head * head_size, head_dim, tokens, nullptr, inverse, scratch.codes);
    pack_values<Bits>(scratch.codes, head_dim, scratch.vectors, out + kvq_head_offset(&layout, head));
  }
  span.write(out + kvq_token_data_offset(&layout), tokens);
  return KVQ_OK;
}

}  // namespace
