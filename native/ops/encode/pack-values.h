// Packs the value codes of one head into 64-lane bytes (docs/format.md section 1.2). Words of two bytes shift both at once: no field leaves its byte.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"
#include "ops/page/value-vectors.h"

namespace {

// One unit at bytes `byte` .. of each row of 64: the vectors that share bytes.
template <uint32_t Bits>
inline void pack_value_unit(const uint8_t *vectors, uint8_t *out) {
  const auto v = [&](uint32_t index) { return lanes::load_words(vectors + index * KVQ_PAGE_TOKENS); };
  const auto put = [&](uint32_t index, lanes::words x) { lanes::store_words(out + index * KVQ_PAGE_TOKENS, x); };
  if constexpr (Bits == 4) {
    put(0, v(0) | v(1) << 4);
  } else if constexpr (Bits == 2) {
    put(0, v(0) | v(1) << 2 | v(2) << 4 | v(3) << 6);
  } else if constexpr (Bits == 3) {
    put(0, v(0) | v(1) << 3 | (v(6) & 0x0303) << 6);
    put(1, v(2) | v(3) << 3 | (v(7) & 0x0303) << 6);
    put(2, v(4) | v(5) << 3 | (v(6) & 0x0404) << 4 | (v(7) & 0x0404) << 5);
  } else {
    put(0, v(0) | (v(5) & 0x0707) << 5);
    put(1, v(1) | (v(6) & 0x0707) << 5);
    put(2, v(2) | (v(7) & 0x0707) << 5);
    put(3, v(3) | (v(5) & 0x1818) << 2 | (v(7) & 0x0808) << 4);
    put(4, v(4) | (v(6) & 0x1818) << 2 | (v(7) & 0x1010) << 3);
  }
}

// codes [head_dim][64]: a row a channel; vectors: scratch of the same size.
template <uint32_t Bits>
inline void pack_values(const uint8_t *codes, uint32_t head_dim, uint8_t *vectors, uint8_t *out) {
  constexpr uint32_t unit_bytes = Bits % 2 == 0 ? 1 : Bits; // rows of 64 bytes
  constexpr uint32_t unit_vectors = 8 * unit_bytes / Bits;
  vectors_from_channels(codes, head_dim, vectors);
  for (uint32_t vector = 0; vector < head_dim; vector += unit_vectors) {
    const uint8_t *from = vectors + vector * KVQ_PAGE_TOKENS;
    uint8_t *to = out + vector / unit_vectors * unit_bytes * KVQ_PAGE_TOKENS;
    for (uint32_t lane = 0; lane < KVQ_PAGE_TOKENS; lane += 2 * lanes::word_width) pack_value_unit<Bits>(from + lane, to + lane);
  }
}

}  // namespace
