// Table indices of a group of 16 key codes (docs/format.md section 1.1), in u16 lanes of `vectors` zmm. A table lookup uses 4 or 5 index bits and tables repeat, so bits above a code stay in.
#pragma once

#include "ops/attend-pages/avx512.h"

#include <cstdint>

namespace {

template <int vectors>
struct index_pair {
  __m512i first[vectors], second[vectors];
};

inline __m512i load_words(const void *at) { return _mm512_loadu_si512(at); }
// Bits of `a` where the mask is set, else of `b`.
inline __m512i pick(__m512i mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xCA); }

template <int shift>
inline __attribute__((always_inline)) __m512i down(__m512i x) {
  if constexpr (shift == 0) return x;
  else return _mm512_srli_epi16(x, shift);
}

// The last code of 3 and 5 bits: bit w is bit 15 of word w.
template <int bits>
inline __attribute__((always_inline)) __m512i last_code(const uint8_t *group) {
  const auto word = [group](int w) { return load_words(group + 128 * w); };
  __m512i code = pick(_mm512_set1_epi16(1), down<15>(word(0)), down<14>(word(1)));
  code = pick(_mm512_set1_epi16(3), code, down<13>(word(2)));
  if constexpr (bits == 5) {
    code = pick(_mm512_set1_epi16(7), code, down<12>(word(3)));
    code = pick(_mm512_set1_epi16(15), code, down<11>(word(4)));
  }
  return code;
}

template <int bits, int code>
inline __attribute__((always_inline)) __m512i code_index(const uint8_t *group) {
  constexpr int in_word = bits == 3 ? 5 : bits == 5 ? 3 : 16 / bits;
  if constexpr (code >= in_word * bits) return last_code<bits>(group);
  else return down<code % in_word * bits>(load_words(group + 128 * (code / in_word)));
}

// Calls visit(pair, first[vectors], second[vectors]) for the 8 pairs of a group; `group` points at the first of the wanted vectors.
template <int bits, int vectors, int pair = 0, typename Visit>
inline __attribute__((always_inline)) void each_pair(const uint8_t *group, Visit &&visit) {
  index_pair<vectors> index;
  for (int v = 0; v < vectors; v++) {
    index.first[v] = code_index<bits, 2 * pair>(group + 64 * v);
    index.second[v] = code_index<bits, 2 * pair + 1>(group + 64 * v);
  }
  visit(pair, index.first, index.second);
  if constexpr (pair < 7) each_pair<bits, vectors, pair + 1>(group, visit);
}

}  // namespace
