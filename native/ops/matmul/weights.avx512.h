// Codes and scales of 16 rows as AVX-512 vectors.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // GCC 12 warns about _mm512_undefined_ps in its own header (bug 105593)
#endif
#include <immintrin.h>

#include "layout.h"

namespace {

using namespace kvq::matmul;

inline __m512i load(const void *bytes) { return _mm512_loadu_si512(bytes); }
inline __m512 load_half(const uint16_t *values) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(values))); }
inline __m512 load_unsigned(const uint8_t *values) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(values)))); }
inline __m512 load_signed(const int8_t *values) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(values)))); }
inline __m512 negative(__m512 x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
inline void store_lanes(float *out, __m512 x, size_t lanes) { _mm512_mask_storeu_ps(out, static_cast<__mmask16>((1u << lanes) - 1), x); }

// Codes of a run: vector `group` holds values 4 * group .. 4 * group + 3 of 16 rows.
template <int bits>
inline void decode(const uint8_t *codes, const uint8_t *high, __m512i (&values)[8]) {
  if constexpr (bits == 8) {
    for (int group = 0; group < 8; group++) values[group] = load(codes + group * 64);
  } else {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int group = 0; group < 4; group++) {
      const __m512i both = load(codes + group * 64);
      values[group] = _mm512_and_si512(both, nibble);
      values[group + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    }
  }
  // Shifts of 16-bit lanes move bits across bytes; the mask that follows drops these. 0xf8: a | (b & c).
  if constexpr (bits == 5) {
    const __m512i fifth = load(high), mask = _mm512_set1_epi8(16);
    for (int group = 0; group < 8; group++) {
      const __m512i moved = group < 4 ? _mm512_slli_epi16(fifth, 4 - group) : _mm512_srli_epi16(fifth, group - 4);
      values[group] = _mm512_ternarylogic_epi32(values[group], moved, mask, 0xf8);
    }
  }
  if constexpr (bits == 6) {
    const __m512i mask = _mm512_set1_epi8(48);
    for (int half = 0; half < 2; half++) {
      const __m512i pairs = load(high + half * 64);
      for (int group = 0; group < 4; group++) {
        const __m512i moved = group < 3 ? _mm512_slli_epi16(pairs, 4 - 2 * group) : _mm512_srli_epi16(pairs, 2);
        values[half * 4 + group] = _mm512_ternarylogic_epi32(values[half * 4 + group], moved, mask, 0xf8);
      }
    }
  }
}

// One record of scales. A weight is first * code + second; for Q6_K first * (code - 32) in the lower half of a run and second * (code - 32) in the upper,
// for the other symmetric types first * (code - 2^(bits - 1)).
template <scaling kind>
struct scale_reader {
  const uint8_t *record;
  __m512 scale, minimum;

  explicit scale_reader(const uint8_t *bytes) : record(bytes), scale(load_half(reinterpret_cast<const uint16_t *>(bytes))), minimum(scale) {
    if constexpr (kind == scaling::affine || kind == scaling::affine_k) minimum = load_half(reinterpret_cast<const uint16_t *>(bytes) + tile_rows);
    if constexpr (kind == scaling::affine_k) minimum = negative(minimum);
  }
  __m512 first(size_t run) const {
    if constexpr (kind == scaling::affine_k) return _mm512_mul_ps(scale, load_unsigned(reinterpret_cast<const affine_k_record *>(record)->factor[run]));
    if constexpr (kind == scaling::offset_k) return _mm512_mul_ps(scale, load_signed(reinterpret_cast<const offset_k_record *>(record)->factor[run][0]));
    return scale;
  }
  __m512 second(size_t run) const {
    if constexpr (kind == scaling::affine_k) return _mm512_mul_ps(minimum, load_unsigned(reinterpret_cast<const affine_k_record *>(record)->term[run]));
    if constexpr (kind == scaling::offset_k) return _mm512_mul_ps(scale, load_signed(reinterpret_cast<const offset_k_record *>(record)->factor[run][1]));
    return minimum;
  }
};

}  // namespace
