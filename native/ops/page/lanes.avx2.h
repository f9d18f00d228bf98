// 8 lanes of AVX2; see lanes.scalar.h for what each name means.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace {

struct lanes {
  static constexpr uint32_t width = 8;
  static constexpr uint32_t strip_vectors = 2;
  using floats = __m256;
  using codes = __m256i;

  static floats load(const float *from) { return _mm256_loadu_ps(from); }
  static void store(float *to, floats x) { _mm256_storeu_ps(to, x); }
  static floats all(float x) { return _mm256_set1_ps(x); }
  static floats in_register(floats x) {
    asm("" : "+x"(x));
    return x;
  }
  static floats minimum(floats a, floats b) { return _mm256_min_ps(a, b); }
  static floats maximum(floats a, floats b) { return _mm256_max_ps(a, b); }
  static floats absolute(floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static uint32_t less(floats a, floats b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
  static floats select(uint32_t bits, floats a, floats b) {
    const __m256i lane = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    const __m256i chosen = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), lane), lane);
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(chosen));
  }

  static codes load_codes(const uint8_t *from) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)); }
  static void store_codes(uint8_t *to, codes x) {
    const __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(pairs, pairs));
  }

  template <uint32_t Bits>
  struct book {
    static constexpr uint32_t tables = Bits > 3 ? 1u << (Bits - 3) : 1;
    const float *middle;
    floats level[tables]; // tables of 8 numbers
    book(const float *midpoints, const float *levels) : middle(midpoints) {
      if constexpr (Bits == 2) {
        level[0] = _mm256_broadcast_ps((const __m128 *)levels);
      } else {
        for (uint32_t table = 0; table < tables; table++) level[table] = load(levels + 8 * table);
      }
    }
    codes find(floats x) const {
      codes code = _mm256_setzero_si256();
      for (uint32_t index = 0; index + 1 < 1u << Bits; index++) code = _mm256_sub_epi32(code, _mm256_castps_si256(_mm256_cmp_ps(_mm256_broadcast_ss(middle + index), x, _CMP_LT_OQ)));
      return code;
    }
    floats decode(codes code) const {
      if constexpr (Bits <= 3) {
        return _mm256_permutevar8x32_ps(level[0], code);
      } else {
        const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));
        const floats low = _mm256_blendv_ps(_mm256_permutevar8x32_ps(level[0], code), _mm256_permutevar8x32_ps(level[1], code), bit3);
        if constexpr (Bits == 4) return low;
        const floats high = _mm256_blendv_ps(_mm256_permutevar8x32_ps(level[tables - 2], code), _mm256_permutevar8x32_ps(level[tables - 1], code), bit3);
        return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 27)));
      }
    }
  };

  static void transpose(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride) {
    __m256 a[8], b[8];
    for (int row = 0; row < 8; row++) a[row] = _mm256_loadu_ps((const float *)(from + row * from_stride));
    for (int row = 0; row < 8; row += 2) {
      b[row] = _mm256_unpacklo_ps(a[row], a[row + 1]);
      b[row + 1] = _mm256_unpackhi_ps(a[row], a[row + 1]);
    }
    // a[4 q + c]: column c of each 128-bit part, rows 4 q .. 4 q + 3.
    for (int row = 0; row < 8; row += 4) {
      a[row] = _mm256_shuffle_ps(b[row], b[row + 2], 0x44);
      a[row + 1] = _mm256_shuffle_ps(b[row], b[row + 2], 0xee);
      a[row + 2] = _mm256_shuffle_ps(b[row + 1], b[row + 3], 0x44);
      a[row + 3] = _mm256_shuffle_ps(b[row + 1], b[row + 3], 0xee);
    }
    for (int column = 0; column < 4; column++) {
      _mm256_storeu_ps((float *)(to + column * to_stride), _mm256_permute2f128_ps(a[column], a[column + 4], 0x20));
      _mm256_storeu_ps((float *)(to + (column + 4) * to_stride), _mm256_permute2f128_ps(a[column], a[column + 4], 0x31));
    }
  }

  static constexpr uint32_t word_width = 16;
  typedef uint16_t words __attribute__((vector_size(32)));

  static words load_words(const uint8_t *from) { return (words)_mm256_loadu_si256((const __m256i *)from); }
  static void store_words(uint8_t *to, words x) { _mm256_storeu_si256((__m256i *)to, (__m256i)x); }
  static words load_key_lanes(const uint8_t *tokens, uint32_t lane) {
    if (lane >= 32) return (words)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(tokens + lane)));
    return (words)_mm256_cvtepu8_epi16(reversed(_mm_loadu_si128((const __m128i *)(tokens + 16 - lane))));
  }
  static void store_key_lanes(uint8_t *tokens, uint32_t lane, words x) {
    const __m256i both = (__m256i)x;
    const __m128i row = _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    if (lane >= 32) _mm_storeu_si128((__m128i *)(tokens + lane), row);
    else _mm_storeu_si128((__m128i *)(tokens + 16 - lane), reversed(row));
  }

 private:
  static __m128i reversed(__m128i bytes) { return _mm_shuffle_epi8(bytes, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)); }
};

}  // namespace
