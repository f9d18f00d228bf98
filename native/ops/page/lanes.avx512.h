// 16 lanes of AVX-512; see lanes.scalar.h for what each name means.
#pragma once

// GCC 12 takes the undefined operands of its own intrinsics for uninitialised variables (GCC bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#include <stddef.h>
#include <stdint.h>

namespace {

struct lanes {
  static constexpr uint32_t width = 16;
  static constexpr uint32_t strip_vectors = 4;
  using floats = __m512;
  using codes = __m512i;

  static floats load(const float *from) { return _mm512_loadu_ps(from); }
  static void store(float *to, floats x) { _mm512_storeu_ps(to, x); }
  static floats all(float x) { return _mm512_set1_ps(x); }
  static floats in_register(floats x) {
    asm("" : "+v"(x));
    return x;
  }
  static floats minimum(floats a, floats b) { return _mm512_min_ps(a, b); }
  static floats maximum(floats a, floats b) { return _mm512_max_ps(a, b); }
  static floats absolute(floats x) { return _mm512_abs_ps(x); }
  static uint32_t less(floats a, floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static floats select(uint32_t bits, floats a, floats b) { return _mm512_mask_blend_ps((__mmask16)bits, b, a); }

  static codes load_codes(const uint8_t *from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)); }
  static void store_codes(uint8_t *to, codes x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(x)); }

  template <uint32_t Bits>
  struct book {
    // Tables of 16 numbers; the second one is for 5 bits only.
    floats middle[2], level[2];
    book(const float *midpoints, const float *levels) {
      constexpr uint32_t count = 1u << Bits;
      middle[0] = first_of(midpoints, count - 1);
      level[0] = first_of(levels, count);
      if constexpr (Bits == 5) {
        middle[1] = first_of(midpoints + 16, 15);
        level[1] = first_of(levels + 16, 16);
      }
    }
    // Binary search: the bits of the count from the highest down.
    codes find(floats x) const {
      codes code = _mm512_setzero_si512();
      for (int step = 1 << (Bits - 1); step > 0; step /= 2) {
        const floats probe = pick(middle, _mm512_add_epi32(code, _mm512_set1_epi32(step - 1)));
        code = _mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(probe, x, _CMP_LT_OQ), code, _mm512_set1_epi32(step));
      }
      return code;
    }
    floats decode(codes code) const { return pick(level, code); }

   private:
    static floats first_of(const float *from, uint32_t count) { return _mm512_maskz_loadu_ps((__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1), from); }
    static floats pick(const floats (&table)[2], codes index) {
      if constexpr (Bits == 5) return _mm512_permutex2var_ps(table[0], index, table[1]);
      return _mm512_permutexvar_ps(index, table[0]);
    }
  };

  static void transpose(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride) {
    __m512 a[16], b[16];
    for (int row = 0; row < 16; row++) a[row] = _mm512_loadu_ps(from + row * from_stride);
    for (int row = 0; row < 16; row += 2) {
      b[row] = _mm512_unpacklo_ps(a[row], a[row + 1]);
      b[row + 1] = _mm512_unpackhi_ps(a[row], a[row + 1]);
    }
    // a[4 q + c]: column c of each 128-bit part, rows 4 q .. 4 q + 3.
    for (int row = 0; row < 16; row += 4) {
      a[row] = pairs_low(b[row], b[row + 2]);
      a[row + 1] = pairs_high(b[row], b[row + 2]);
      a[row + 2] = pairs_low(b[row + 1], b[row + 3]);
      a[row + 3] = pairs_high(b[row + 1], b[row + 3]);
    }
    for (int column = 0; column < 4; column++) {
      const __m512 even_top = _mm512_shuffle_f32x4(a[column], a[column + 4], 0x88);
      const __m512 odd_top = _mm512_shuffle_f32x4(a[column], a[column + 4], 0xdd);
      const __m512 even_bottom = _mm512_shuffle_f32x4(a[column + 8], a[column + 12], 0x88);
      const __m512 odd_bottom = _mm512_shuffle_f32x4(a[column + 8], a[column + 12], 0xdd);
      _mm512_storeu_ps(to + column * to_stride, _mm512_shuffle_f32x4(even_top, even_bottom, 0x88));
      _mm512_storeu_ps(to + (column + 4) * to_stride, _mm512_shuffle_f32x4(odd_top, odd_bottom, 0x88));
      _mm512_storeu_ps(to + (column + 8) * to_stride, _mm512_shuffle_f32x4(even_top, even_bottom, 0xdd));
      _mm512_storeu_ps(to + (column + 12) * to_stride, _mm512_shuffle_f32x4(odd_top, odd_bottom, 0xdd));
    }
  }

  static constexpr uint32_t word_width = 32;
  typedef uint16_t words __attribute__((vector_size(64)));

  static words load_words(const uint8_t *from) { return (words)_mm512_loadu_si512(from); }
  static void store_words(uint8_t *to, words x) { _mm512_storeu_si512(to, (__m512i)x); }
  static words load_key_lanes(const uint8_t *tokens, uint32_t lane) {
    const __m256i row = _mm256_loadu_si256((const __m256i *)(tokens + lane));
    return (words)_mm512_cvtepu8_epi16(lane == 0 ? reversed(row) : row);
  }
  static void store_key_lanes(uint8_t *tokens, uint32_t lane, words x) {
    const __m256i row = _mm512_cvtepi16_epi8((__m512i)x);
    _mm256_storeu_si256((__m256i *)(tokens + lane), lane == 0 ? reversed(row) : row);
  }

 private:
  static __m512 pairs_low(__m512 a, __m512 b) { return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
  static __m512 pairs_high(__m512 a, __m512 b) { return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b))); }
  static __m256i reversed(__m256i bytes) {
    const __m256i order = _mm256_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    return _mm256_permutexvar_epi8(order, bytes);
  }
};

}  // namespace
