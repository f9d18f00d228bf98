// Encodes the keys of a page (docs/format.md section 2.2), one head after another; a lane is a token, so every lane does what the scalar reference does.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kvquant/codec.h"
#include "ops/encode/feedback.h"
#include "ops/encode/key-outliers.h"
#include "ops/encode/pack-keys.h"
#include "ops/encode/page-scales.h"
#include "ops/page/codec-scratch.h"
#include "ops/page/code-channels.h"
#include "ops/page/tile.h"

namespace {

// What rounding a head needs.
struct key_head {
  uint32_t head_dim;
  const head_scales &scales;
  const uint16_t *order;   // NULL: natural order, no feedback
  const float *weights;
  const uint64_t *marks;   // NULL: no outliers
  codec_scratch &scratch;
};

// Outliers of one rounded row of a strip: the error becomes what the stored difference leaves. False for a difference that is not a number.
inline bool store_deltas(const key_head &head, uint32_t channel, uint32_t strip, const float *levels, float *errors) {
  const size_t row = static_cast<size_t>(channel) * KVQ_PAGE_TOKENS;
  bool sound = true;
  for (uint64_t bits = head.marks[channel] >> strip & (~uint64_t{0} >> (KVQ_PAGE_TOKENS - strip_tokens)); bits != 0; bits &= bits - 1) {
    const uint32_t lane = static_cast<uint32_t>(__builtin_ctzll(bits));
    const size_t place = row + strip + lane;
    const uint16_t delta = finite_half_of_float(errors[lane]);
    const float decoded = levels[head.scratch.codes[place]] * head.scales.scale[channel] + head.scales.zero[channel];
    head.scratch.deltas[place] = delta;
    errors[lane] = head.scratch.tiles[place] - (decoded + float_of_half(delta));
    sound = sound && half_is_finite(delta);
  }
  return sound;
}

// Rounds one row of a strip; writes codes, and errors [strip_tokens].
template <uint32_t Bits>
inline void round_row(const key_head &head, const lanes::book<Bits> &book, uint32_t channel, uint32_t strip, float *errors) {
  const size_t row = static_cast<size_t>(channel) * KVQ_PAGE_TOKENS + strip;
  const lanes::floats scale = lanes::all(head.scales.scale[channel]);
  const lanes::floats zero = lanes::all(head.scales.zero[channel]);
  const lanes::floats inverse = lanes::all(inverse_of(head.scales.scale[channel]));
  for (uint32_t token = 0; token < strip_tokens; token += lanes::width) {
    const lanes::floats x = lanes::load(head.scratch.tiles + row + token);
    const lanes::codes code = book.find((x - zero) * inverse);
    const lanes::floats decoded = book.decode(code) * scale + zero;
    lanes::store_codes(head.scratch.codes + row + token, code);
    lanes::store(errors + token, x - decoded);
  }
}

// Rounds a head whose tile is loaded; false when a difference is not a number (feedback has overflowed).
template <uint32_t Bits>
inline bool round_head(const key_head &head, const float *levels, const float *midpoints) {
  const lanes::book<Bits> book(midpoints, levels);
  float *const errors = head.scratch.errors;
  bool sound = true;
  for (uint32_t strip = 0; strip < KVQ_PAGE_TOKENS; strip += strip_tokens) {
    for (uint32_t first = 0; first < head.head_dim; first += feedback_targets) {
      uint32_t channels[feedback_targets];
      float *rows[feedback_targets];
      for (uint32_t target = 0; target < feedback_targets; target++) {
        channels[target] = head.order == nullptr ? first + target : head.order[first + target];
        rows[target] = head.scratch.tiles + channels[target] * KVQ_PAGE_TOKENS + strip;
      }
      if (head.order != nullptr && first > 0) subtract_errors<feedback_targets>(rows, errors, head.weights, head.head_dim, first, 0, first);
      for (uint32_t target = 0; target < feedback_targets; target++) {
        const uint32_t rank = first + target;
        if (head.order != nullptr && target > 0) subtract_errors<1>(rows + target, errors, head.weights, head.head_dim, rank, first, rank);
        round_row<Bits>(head, book, channels[target], strip, errors + rank * strip_tokens);
        if (head.marks != nullptr && head.marks[channels[target]] != 0) sound &= store_deltas(head, channels[target], strip, levels, errors + rank * strip_tokens);
      }
    }
  }
  return sound;
}

template <uint32_t Bits>
inline kvq_status encode_keys_of(const kvq_key_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch_memory, kvq_encoded &encoded) {
  const kvq_block_layout layout = kvq_key_layout(&plan);
  const uint32_t head_dim = plan.head_dim;
  const size_t columns = static_cast<size_t>(plan.kv_heads) * head_dim;
  const size_t pairs = static_cast<size_t>(head_dim) * (head_dim - 1) / 2;
  const code_channels channels(head_dim, plan.rotary_dim);
  codec_scratch scratch(scratch_memory, plan.kv_heads, head_dim);
  encoded = {kvq_outliers_offset(&layout), 0, 0};
  for (uint32_t index = 0; index < plan.kv_heads; index++) {
    const size_t first = static_cast<size_t>(index) * head_dim;
    uint8_t *const codes = out + kvq_head_offset(&layout, index);
    head_scales scales;
    load_tile(x + first, columns, tokens, head_dim, scratch.tiles);
    if (plan.page_scales) {
      encoded.clamped += measure_page_scales(x + first, columns, tokens, channels, head_dim, plan.scale + first, plan.zero + first, codes + layout.codes_bytes, layout.side_bytes, scales);
    } else {
      memcpy(scales.scale, plan.scale + first, head_dim * sizeof(float));
      memcpy(scales.zero, plan.zero + first, head_dim * sizeof(float));
    }
    uint32_t marked = 0;
    if (plan.low != nullptr) {
      marked = mark_outside(scratch.tiles, head_dim, tokens, plan.low + first, plan.high + first, scratch.marks);
      if (!plan.outliers) encoded.saturated += marked;
      else if (marked > 0) encoded.saturated += limit_marks(scratch.tiles, head_dim, channels, scales, scratch.marks);
    }
    const bool fed = plan.feedback_order != nullptr;
    const key_head head = {head_dim, scales, fed ? plan.feedback_order + first : nullptr, fed ? plan.feedback_weights + index * pairs : nullptr,
                           plan.outliers && marked > 0 ? scratch.marks : nullptr, scratch};
    if (!round_head<Bits>(head, plan.levels, plan.midpoints)) return KVQ_INVALID_ARGUMENT;
    for (uint32_t channel = 0; tokens < KVQ_PAGE_TOKENS && channel < head_dim; channel++) memset(scratch.codes + channel * KVQ_PAGE_TOKENS + tokens, 0, KVQ_PAGE_TOKENS - tokens);
    pack_keys<Bits>(scratch.codes, head_dim, channels, codes);
    if (plan.outliers) encoded.bytes += write_key_outliers(scratch.marks, scratch.deltas, head_dim, channels, out + encoded.bytes);
  }
  return KVQ_OK;
}

}  // namespace
