// Codes and scales of 8 rows, half a tile, as AVX2 vectors. Pointers are those of the tile; `half` picks rows 0-7 or 8-15.
#pragma once

#include <immintrin.h>

#include "layout.h"

namespace {

using namespace kvq::matmul;

constexpr size_t half_rows = tile_rows / 2;

inline __m256i load(const uint8_t *bytes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(bytes)); }
inline __m256 load_half(const uint16_t *values) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(values))); }
inline __m256 load_unsigned(const uint8_t *values) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(values)))); }
inline __m256 load_signed(const int8_t *values) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(values)))); }
inline __m256 negative(__m256 x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }

// The first `lanes` lanes, any number; none when it is 0 or less.
inline void store_lanes(float *out, __m256 x, ptrdiff_t lanes) {
  if (lanes >= static_cast<ptrdiff_t>(half_rows)) {
    _mm256_storeu_ps(out, x);
    return;
  }
  float values[half_rows];
  _mm256_storeu_ps(values, x);
  for (ptrdiff_t lane = 0; lane < lanes; lane++) out[lane] = values[lane];
}

// Codes 4 * group .. 4 * group + 3 of 8 rows; group is a constant after unrolling. `codes` and `high` start at the half.
template <int bits>
inline __m256i decode(const uint8_t *codes, const uint8_t *high, int group) {
  if constexpr (bits == 8) return load(codes + group * 64);
  const __m256i both = load(codes + group % 4 * 64);
  __m256i values = _mm256_and_si256(group < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
  // Shifts of 16-bit lanes move bits across bytes; the mask drops these.
  if constexpr (bits == 5) {
    const __m256i fifth = load(high);
    values = _mm256_or_si256(values, _mm256_and_si256(group < 4 ? _mm256_slli_epi16(fifth, 4 - group) : _mm256_srli_epi16(fifth, group - 4), _mm256_set1_epi8(16)));
  }
  if constexpr (bits == 6) {
    const __m256i pairs = load(high + group / 4 * 64);
    values = _mm256_or_si256(values, _mm256_and_si256(group % 4 < 3 ? _mm256_slli_epi16(pairs, 4 - group % 4 * 2) : _mm256_srli_epi16(pairs, 2), _mm256_set1_epi8(48)));
  }
  return values;
}

// One record of scales. A weight is first * code + second; for Q6_K first * (code - 32) in the lower half of a run and second * (code - 32) in the upper,
// for the other symmetric types first * (code - 2^(bits - 1)).
template <scaling kind>
struct scale_reader {
  const uint8_t *record;
  size_t lane;
  __m256 scale, minimum;

  scale_reader(const uint8_t *bytes, size_t half) : record(bytes), lane(half * half_rows), scale(load_half(reinterpret_cast<const uint16_t *>(bytes) + lane)), minimum(scale) {
    if constexpr (kind == scaling::affine || kind == scaling::affine_k) minimum = load_half(reinterpret_cast<const uint16_t *>(bytes) + tile_rows + lane);
    if constexpr (kind == scaling::affine_k) minimum = negative(minimum);
  }
  __m256 first(size_t run) const {
    if constexpr (kind == scaling::affine_k) return _mm256_mul_ps(scale, load_unsigned(reinterpret_cast<const affine_k_record *>(record)->factor[run] + lane));
    if constexpr (kind == scaling::offset_k) return _mm256_mul_ps(scale, load_signed(reinterpret_cast<const offset_k_record *>(record)->factor[run][0] + lane));
    return scale;
  }
  __m256 second(size_t run) const {
    if constexpr (kind == scaling::affine_k) return _mm256_mul_ps(minimum, load_unsigned(reinterpret_cast<const affine_k_record *>(record)->term[run] + lane));
    if constexpr (kind == scaling::offset_k) return _mm256_mul_ps(scale, load_signed(reinterpret_cast<const offset_k_record *>(record)->factor[run][1] + lane));
    return minimum;
  }
};

}  // namespace
