// Outliers of the keys of one head: which values get a slot, decided before feedback, and their section.
// `marks` holds a row of 64 bits for each channel, bit = token. The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"
#include "ops/encode/outlier-section.h"
#include "ops/encode/page-scales.h"

namespace {

inline void count_marks(const uint64_t *marks, uint32_t head_dim, uint32_t (&counts)[KVQ_PAGE_TOKENS]) {
  for (uint32_t &count : counts) count = 0;
  for (uint32_t channel = 0; channel < head_dim; channel++)
    for (uint64_t bits = marks[channel]; bits != 0; bits &= bits - 1) counts[__builtin_ctzll(bits)]++;
}

// Marks what lies outside the thresholds; returns how many.
inline uint32_t mark_outside(const float *tile, uint32_t head_dim, uint32_t tokens, const float *low, const float *high, uint64_t *marks) {
  const uint64_t valid = ~uint64_t{0} >> (KVQ_PAGE_TOKENS - tokens);
  uint32_t marked = 0;
  for (uint32_t channel = 0; channel < head_dim; channel++) {
    const lanes::floats bottom = lanes::all(low[channel]);
    const lanes::floats top = lanes::all(high[channel]);
    uint64_t outside = 0;
    for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
      const lanes::floats x = lanes::load(tile + channel * KVQ_PAGE_TOKENS + token);
      outside |= static_cast<uint64_t>(lanes::less(x, bottom) | lanes::less(top, x)) << token;
    }
    marks[channel] = outside & valid;
    marked += static_cast<uint32_t>(__builtin_popcountll(marks[channel]));
  }
  return marked;
}

// Unmarks the smallest |x_n| of tokens with more marks than slots; returns how many.
inline uint32_t limit_marks(const float *tile, uint32_t head_dim, const code_channels &channels, const head_scales &scales, uint64_t *marks) {
  uint32_t counts[KVQ_PAGE_TOKENS];
  count_marks(marks, head_dim, counts);
  uint32_t dropped = 0;
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) {
    if (counts[token] <= KVQ_OUTLIER_SLOTS) continue;
    const uint64_t bit = uint64_t{1} << token;
    slot_ranking ranking;
    for (uint32_t code = 0; code < head_dim; code++) {
      const uint32_t channel = channels.of[code];
      if (!(marks[channel] & bit)) continue;
      const float normalised = (tile[channel * KVQ_PAGE_TOKENS + token] - scales.zero[channel]) * inverse_of(scales.scale[channel]);
      ranking.offer(__builtin_fabsf(normalised), code);
      marks[channel] &= ~bit;
    }
    for (uint32_t place = 0; place < ranking.held(); place++) marks[channels.of[ranking.index(place)]] |= bit;
    dropped += counts[token] - KVQ_OUTLIER_SLOTS;
  }
  return dropped;
}

// Writes the section of a head whose deltas [head_dim][64] are known; returns its bytes.
inline size_t write_key_outliers(const uint64_t *marks, const uint16_t *deltas, uint32_t head_dim, const code_channels &channels, uint8_t *out) {
  uint32_t marked[KVQ_PAGE_TOKENS];
  count_marks(marks, head_dim, marked);
  uint8_t counts[KVQ_PAGE_TOKENS];
  uint32_t next[KVQ_PAGE_TOKENS];
  for (uint32_t token = 0, total = 0; token < KVQ_PAGE_TOKENS; total += marked[token], token++) {
    counts[token] = static_cast<uint8_t>(marked[token]);
    next[token] = total;
  }
  outlier_section section(out, counts);
  for (uint32_t code = 0; code < head_dim; code++) {
    const uint32_t channel = channels.of[code];
    for (uint64_t bits = marks[channel]; bits != 0; bits &= bits - 1) {
      const uint32_t token = static_cast<uint32_t>(__builtin_ctzll(bits));
      section.put(next[token]++, deltas[channel * KVQ_PAGE_TOKENS + token], code);
    }
  }
  return section.bytes();
}

}  // namespace
