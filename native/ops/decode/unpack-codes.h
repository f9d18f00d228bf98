// Codes of one head, unpacked into rows of 64 tokens, a row a channel: the inverse of ops/encode/pack-keys.h and pack-values.h.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"
#include "ops/page/code-channels.h"
#include "ops/page/value-vectors.h"

namespace {

template <uint32_t Bits>
inline void unpack_keys(const uint8_t *packed, uint32_t head_dim, const code_channels &channels, uint8_t *codes) {
  constexpr uint32_t per_word = 16 / Bits;
  constexpr uint16_t mask = (1u << Bits) - 1;
  for (uint32_t group = 0; group < head_dim; group += 16) {
    for (uint32_t lane = 0; lane < KVQ_PAGE_TOKENS; lane += lanes::word_width) {
      lanes::words word[Bits];
      for (uint32_t index = 0; index < Bits; index++) word[index] = lanes::load_words(packed + (group / 16 * Bits + index) * 2 * KVQ_PAGE_TOKENS + 2 * lane);
      for (uint32_t code = 0; code < 16; code++) {
        uint8_t *const row = codes + channels.of[group + code] * KVQ_PAGE_TOKENS;
        if (code < Bits * per_word) {
          lanes::store_key_lanes(row, lane, (word[code / per_word] >> (Bits * (code % per_word))) & mask);
          continue;
        }
        lanes::words spread = word[0] >> 15; // code 15 of 3 and 5 bits: bit i is bit 15 of word i
        for (uint32_t bit = 1; bit < Bits; bit++) spread |= (word[bit] >> 15) << bit;
        lanes::store_key_lanes(row, lane, spread);
      }
    }
  }
}

// One unit at two bytes a word: fields never leave their byte.
template <uint32_t Bits>
inline void unpack_value_unit(const uint8_t *packed, uint8_t *vectors) {
  const auto b = [&](uint32_t index) { return lanes::load_words(packed + index * KVQ_PAGE_TOKENS); };
  const auto put = [&](uint32_t index, lanes::words x) { lanes::store_words(vectors + index * KVQ_PAGE_TOKENS, x); };
  if constexpr (Bits == 4) {
    put(0, b(0) & 0x0f0f);
    put(1, b(0) >> 4 & 0x0f0f);
  } else if constexpr (Bits == 2) {
    for (uint32_t vector = 0; vector < 4; vector++) put(vector, b(0) >> (2 * vector) & 0x0303);
  } else if constexpr (Bits == 3) {
    for (uint32_t vector = 0; vector < 6; vector++) put(vector, b(vector / 2) >> (3 * (vector % 2)) & 0x0707);
    put(6, (b(0) >> 6 & 0x0303) | (b(2) >> 4 & 0x0404));
    put(7, (b(1) >> 6 & 0x0303) | (b(2) >> 5 & 0x0404));
  } else {
    for (uint32_t vector = 0; vector < 5; vector++) put(vector, b(vector) & 0x1f1f);
    put(5, (b(0) >> 5 & 0x0707) | (b(3) >> 2 & 0x1818));
    put(6, (b(1) >> 5 & 0x0707) | (b(4) >> 2 & 0x1818));
    put(7, (b(2) >> 5 & 0x0707) | (b(3) >> 4 & 0x0808) | (b(4) >> 3 & 0x1010));
  }
}

// vectors: scratch of the size of codes [head_dim][64].
template <uint32_t Bits>
inline void unpack_values(const uint8_t *packed, uint32_t head_dim, uint8_t *vectors, uint8_t *codes) {
  constexpr uint32_t unit_bytes = Bits % 2 == 0 ? 1 : Bits; // rows of 64 bytes
  constexpr uint32_t unit_vectors = 8 * unit_bytes / Bits;
  for (uint32_t vector = 0; vector < head_dim; vector += unit_vectors) {
    const uint8_t *from = packed + vector / unit_vectors * unit_bytes * KVQ_PAGE_TOKENS;
    uint8_t *to = vectors + vector * KVQ_PAGE_TOKENS;
    for (uint32_t lane = 0; lane < KVQ_PAGE_TOKENS; lane += 2 * lanes::word_width) unpack_value_unit<Bits>(from + lane, to + lane);
  }
  channels_from_vectors(vectors, head_dim, codes);
}

}  // namespace
