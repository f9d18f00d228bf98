// Packs the key codes of one head into 16-bit lanes (docs/format.md section 1.1).
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"
#include "ops/page/code-channels.h"

namespace {

constexpr uint32_t key_row_bytes = 2 * KVQ_PAGE_TOKENS;

// codes [head_dim][64]: a row a channel; out: 16 codes in Bits words of 64 lanes, group after group.
template <uint32_t Bits>
inline void pack_keys(const uint8_t *codes, uint32_t head_dim, const code_channels &channels, uint8_t *out) {
  constexpr uint32_t per_word = 16 / Bits; // whole codes of a word; 3 and 5 bits spread code 15 over the bits 15
  for (uint32_t group = 0; group < head_dim; group += 16) {
    const uint8_t *row[16];
    for (uint32_t code = 0; code < 16; code++) row[code] = codes + channels.of[group + code] * KVQ_PAGE_TOKENS;
    for (uint32_t lane = 0; lane < KVQ_PAGE_TOKENS; lane += lanes::word_width) {
      for (uint32_t word = 0; word < Bits; word++) {
        lanes::words packed = lanes::load_key_lanes(row[word * per_word], lane);
        for (uint32_t code = 1; code < per_word; code++) packed |= lanes::load_key_lanes(row[word * per_word + code], lane) << (Bits * code);
        if constexpr (per_word * Bits < 16) packed |= (lanes::load_key_lanes(row[15], lane) >> word) << 15;
        lanes::store_words(out + (group / 16 * Bits + word) * key_row_bytes + 2 * lane, packed);
      }
    }
  }
}

}  // namespace
