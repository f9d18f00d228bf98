// One vocabulary for fp32 vectors of the instruction set that a file is compiled for, so that an AVX2 and an AVX-512 kernel are one template.
// Only for *.avx2.cpp and *.avx512.cpp and the headers they share. Everything is in an anonymous namespace: no function compiled for an ISA can be linked into another path.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 takes the undefined operand inside its own AVX-512 intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

namespace {

#if defined(__AVX512F__)

constexpr int lanes = 16;
using floats = __m512;

inline floats zero() { return _mm512_setzero_ps(); }
inline floats broadcast(float x) { return _mm512_set1_ps(x); }
inline floats load(const float *p) { return _mm512_loadu_ps(p); }
inline void store(float *p, floats x) { _mm512_storeu_ps(p, x); }
inline floats add(floats a, floats b) { return _mm512_add_ps(a, b); }
inline floats subtract(floats a, floats b) { return _mm512_sub_ps(a, b); }
inline floats multiply(floats a, floats b) { return _mm512_mul_ps(a, b); }
inline floats divide(floats a, floats b) { return _mm512_div_ps(a, b); }
inline floats multiply_add(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
inline floats maximum(floats a, floats b) { return _mm512_max_ps(a, b); }
inline floats nearest(floats x) { return _mm512_roundscale_ps(x, 0); }
inline float sum_of(floats x) { return _mm512_reduce_add_ps(x); }
inline float maximum_of(floats x) { return _mm512_reduce_max_ps(x); }

// The first `count` lanes (0 .. lanes), zeros behind them; nothing else is read or written.
inline __mmask16 first(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }
inline floats load_first(const float *p, size_t count) { return _mm512_maskz_loadu_ps(first(count), p); }
inline void store_first(float *p, floats x, size_t count) { _mm512_mask_storeu_ps(p, first(count), x); }
// x in the first `count` lanes (any number), `rest` in the others.
inline floats keep_first(floats x, int count, floats rest) {
  return _mm512_mask_mov_ps(rest, count >= lanes ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : first(static_cast<size_t>(count)), x);
}

inline floats load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p))); }
// For rows of a multiple of 8: the first 8 or 16 lanes.
inline floats load_half_first(const uint16_t *p, size_t count) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(count), p)); }

// x * 2^n for a whole number n; x where n is not below `least`, else 0.
inline floats scale_by_power(floats x, floats n) { return _mm512_scalef_ps(x, n); }
inline floats zero_below(floats x, floats key, float least) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(key, _mm512_set1_ps(least), _CMP_NLT_UQ), x); }
inline floats select_negative(floats key, floats negative, floats other) { return _mm512_mask_mov_ps(other, _mm512_cmp_ps_mask(key, _mm512_setzero_ps(), _CMP_LT_OQ), negative); }
inline floats magnitude(floats x) { return _mm512_abs_ps(x); }
// Lane i holds lane i ^ apart; apart is 1, 2, 4 or 8.
template <int apart>
inline floats exchange(floats x) {
  if constexpr (apart == 1) return _mm512_permute_ps(x, 0xB1);
  else if constexpr (apart == 2) return _mm512_permute_ps(x, 0x4E);
  else if constexpr (apart == 4) return _mm512_shuffle_f32x4(x, x, 0xB1);
  else return _mm512_shuffle_f32x4(x, x, 0x4E);
}

#else

constexpr int lanes = 8;
using floats = __m256;

inline floats zero() { return _mm256_setzero_ps(); }
inline floats broadcast(float x) { return _mm256_set1_ps(x); }
inline floats load(const float *p) { return _mm256_loadu_ps(p); }
inline void store(float *p, floats x) { _mm256_storeu_ps(p, x); }
inline floats add(floats a, floats b) { return _mm256_add_ps(a, b); }
inline floats subtract(floats a, floats b) { return _mm256_sub_ps(a, b); }
inline floats multiply(floats a, floats b) { return _mm256_mul_ps(a, b); }
inline floats divide(floats a, floats b) { return _mm256_div_ps(a, b); }
inline floats multiply_add(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
inline floats maximum(floats a, floats b) { return _mm256_max_ps(a, b); }
inline floats nearest(floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline float sum_of(floats x) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float maximum_of(floats x) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

inline __m256i first(int count) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
inline floats load_first(const float *p, size_t count) { return _mm256_maskload_ps(p, first(static_cast<int>(count))); }
inline void store_first(float *p, floats x, size_t count) { _mm256_maskstore_ps(p, first(static_cast<int>(count)), x); }
inline floats keep_first(floats x, int count, floats rest) { return _mm256_blendv_ps(rest, x, _mm256_castsi256_ps(first(count))); }

inline floats load_half(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p))); }
inline floats load_half_first(const uint16_t *p, size_t) { return load_half(p); }

inline floats power_of_two(__m256i n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
// In two steps, so that n may be -252 .. 254 and results may be subnormal.
inline floats scale_by_power(floats x, floats n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(x, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
}
inline floats zero_below(floats x, floats key, float least) { return _mm256_and_ps(x, _mm256_cmp_ps(key, _mm256_set1_ps(least), _CMP_NLT_UQ)); }
inline floats select_negative(floats key, floats negative, floats other) { return _mm256_blendv_ps(other, negative, key); }
inline floats magnitude(floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
// Lane i holds lane i ^ apart; apart is 1, 2 or 4.
template <int apart>
inline floats exchange(floats x) {
  if constexpr (apart == 1) return _mm256_permute_ps(x, 0xB1);
  else if constexpr (apart == 2) return _mm256_permute_ps(x, 0x4E);
  else return _mm256_permute2f128_ps(x, x, 1);
}

#endif

inline void prefetch_to_l2(const void *address) { _mm_prefetch(static_cast<const char *>(address), _MM_HINT_T1); }

// 2^f for |f| <= 1/2: Chebyshev interpolant of (2^f - 1) / f, relative error 6e-9 before rounding, about 1e-7 with it.
inline floats exp2_fraction(floats f) {
  floats p = broadcast(0.00015453162945120691f);
  p = multiply_add(p, f, broadcast(0.0013390863364671234f));
  p = multiply_add(p, f, broadcast(0.0096180825572778524f));
  p = multiply_add(p, f, broadcast(0.055503571142190782f));
  p = multiply_add(p, f, broadcast(0.24022650760568126f));
  p = multiply_add(p, f, broadcast(0.69314718802622877f));
  return multiply_add(p, f, broadcast(1.0f));
}

// 2^x for x <= 0 (weights of a softmax): 0 below -126, minus infinity included; NaN stays NaN.
inline floats exp2_weight(floats x) {
  const floats clamped = maximum(broadcast(-127.0f), x);  // NaN in the second operand is returned
  const floats n = nearest(clamped);
  return zero_below(scale_by_power(exp2_fraction(subtract(clamped, n)), n), x, -126.0f);
}

}  // namespace
