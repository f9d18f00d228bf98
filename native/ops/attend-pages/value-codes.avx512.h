// Codes of a value page (docs/format.md section 1.2) unpacked to one byte each, or looked up: any run of whole units. The vectors come out in page order, 16 channels x 4 tokens each.
#pragma once

#include "ops/attend-pages/avx512.h"

#include <cstddef>
#include <cstdint>

namespace {

constexpr int unit_vectors(int bits) { return bits == 4 ? 2 : bits == 2 ? 4 : 8; }
constexpr int unit_words(int bits) { return bits == 3 ? 3 : bits == 5 ? 5 : 1; }

template <int shift>
inline __attribute__((always_inline)) __m512i shifted(__m512i x) {
  if constexpr (shift == 0) return x;
  else return _mm512_srli_epi16(x, shift);
}

// Bits of `a` where the mask is set, else of `b`.
inline __m512i mix(int mask, __m512i a, __m512i b) { return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), a, b, 0xCA); }

// Vector `n` of the unit at `unit`; bits above the code are left as they come.
template <int bits, int n>
inline __attribute__((always_inline)) __m512i unit_vector(const uint8_t *unit) {
  const auto word = [unit](int w) { return _mm512_loadu_si512(unit + 64 * w); };
  if constexpr (bits == 4 || bits == 2) return shifted<bits * n>(word(0));
  else if constexpr (bits == 3) {
    if constexpr (n < 6) return shifted<3 * (n & 1)>(word(n / 2));
    else return mix(3, shifted<6>(word(n - 6)), shifted<n - 2>(word(2)));
  } else {
    if constexpr (n < 5) return word(n);
    else if constexpr (n < 7) return mix(7, shifted<5>(word(n - 5)), shifted<2>(word(n - 2)));
    else return mix(7, shifted<5>(word(2)), mix(8, shifted<4>(word(3)), shifted<3>(word(4))));
  }
}

// Stores visit(vector) of the 2 to 8 vectors of a unit.
template <int bits, int n = 0, typename Visit>
inline __attribute__((always_inline)) void unpack_unit(const uint8_t *unit, uint8_t *to, Visit visit) {
  _mm512_store_si512(to + 64 * n, visit(unit_vector<bits, n>(unit)));
  if constexpr (n + 1 < unit_vectors(bits)) unpack_unit<bits, n + 1>(unit, to, visit);
}

template <int bits, typename Visit>
inline void unpack_vectors(const uint8_t *codes, uint32_t vectors, uint8_t *to, Visit visit) {
#pragma GCC unroll 1
  for (uint32_t n = 0; n < vectors; n += unit_vectors(bits), codes += 64 * unit_words(bits), to += 64 * unit_vectors(bits)) unpack_unit<bits>(codes, to, visit);
}

}  // namespace
