// int8 products of a 16-row tile on AVX2, 8 rows at a time. vpmaddubsw multiplies unsigned codes by signed activations into 16-bit sums of two; as many of these are added
// as 16 bits hold (2 * 127 * code: 8 for codes up to 15, 4 up to 31, 2 up to 63) before vpmaddwd widens them. 8-bit weights are multiplied as |w| * (sign of w * x).
// The integer sums are exact and the fp32 operations those of the other files, so results agree with theirs bit for bit.
#include "weights.avx2.h"

#include "backend.h"

namespace {

template <int bits, scaling kind, int rows>
struct tile_product {
  static void multiply(const tile_view &tile, size_t runs, const activation_block *blocks, float *y, size_t stride, size_t lanes) {
    for (size_t half = 0; half < 2; half++) multiply_half(tile, half, runs, blocks, y + half * half_rows, stride, static_cast<ptrdiff_t>(lanes) - static_cast<ptrdiff_t>(half * half_rows));
  }

  static void multiply_half(const tile_view &tile, size_t half, size_t runs, const activation_block *block, float *y, size_t stride, ptrdiff_t lanes) {
    const uint8_t *codes = tile.codes + half * 32, *high = tile.high + half * 32, *record = tile.scales;
    __m256 sums[rows];
    for (int row = 0; row < rows; row++) sums[row] = _mm256_setzero_ps();

    for (size_t done = 0; done < runs; done += record_runs(kind), record += record_bytes(kind)) {
      const scale_reader<kind> scales(record, half);
      for (size_t run = 0; run < record_runs(kind); run++, codes += code_bytes(bits), high += high_bytes(bits), block += rows) {
        if (tile.cold && half == 0) prefetch<bits, kind>(codes, high, record);
        const __m256 first = scales.first(run), second = scales.second(run);
        __m256i dots[rows];
        for (int row = 0; row < rows; row++) dots[row] = start(block[row], 0);
        add_groups<0>(codes, high, block, dots);
        if constexpr (kind == scaling::offset_k) {
          for (int row = 0; row < rows; row++) {
            accumulate(sums[row], first, block[row].scale, dots[row]);
            dots[row] = start(block[row], 1);
          }
        }
        add_groups<4>(codes, high, block, dots);
        for (int row = 0; row < rows; row++) {
          accumulate(sums[row], kind == scaling::offset_k ? second : first, block[row].scale, dots[row]);
          if constexpr (kind == scaling::affine || kind == scaling::affine_k) sums[row] = _mm256_fmadd_ps(second, _mm256_set1_ps(block[row].scaled_sum), sums[row]);
        }
      }
    }
    for (int row = 0; row < rows; row++) store_lanes(y + row * stride, sums[row], lanes);
  }

  // What the integer sum starts from: the offset of symmetric codes. 8-bit codes are made signed instead.
  static __m256i start(const activation_block &x, int half) {
    if constexpr (kind == scaling::offset_k) return _mm256_set1_epi32(x.minus_halves[half] * (1 << (bits - 1)));
    if constexpr (kind == scaling::offset && bits != 8) return _mm256_set1_epi32(x.minus_sum * (1 << (bits - 1)));
    return _mm256_setzero_si256();
  }

  // dots += the products of groups from .. from+3.
  template <int from>
  static void add_groups(const uint8_t *codes, const uint8_t *high, const activation_block *block, __m256i (&dots)[rows]) {
    constexpr int together = bits == 8 ? 1 : bits == 6 ? 2 : 4; // 4-bit codes would allow 8
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i pairs[rows];
#pragma GCC unroll 4
    for (int group = from; group < from + 4; group++) {
      __m256i values = decode<bits>(codes, high, group);
      __m256i weights = values;
      if constexpr (bits == 8) {
        weights = _mm256_xor_si256(values, _mm256_set1_epi8(-128));
        values = _mm256_abs_epi8(weights);
      }
      for (int row = 0; row < rows; row++) {
        __m256i x = _mm256_set1_epi32(dword_at(block[row].codes, group));
        if constexpr (bits == 8) x = _mm256_sign_epi8(x, weights);
        const __m256i product = _mm256_maddubs_epi16(values, x);
        pairs[row] = group % together == 0 ? product : _mm256_add_epi16(pairs[row], product);
        if (group % together == together - 1) dots[row] = _mm256_add_epi32(dots[row], _mm256_madd_epi16(pairs[row], ones));
      }
    }
  }

  static void accumulate(__m256 &sum, __m256 scale, float step, __m256i dot) { sum = _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(step)), _mm256_cvtepi32_ps(dot), sum); }
};

inline int32_t sum_of(__m256i x) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

inline uint32_t maximum_of(__m256i x) {
  __m128i top = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 0x4e));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(top, _mm_shuffle_epi32(top, 0xb1))));
}

void quantize_block(const float *x, activation_block &block) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 values[4];
  __m256i top = _mm256_setzero_si256();
  for (int part = 0; part < 4; part++) {
    values[part] = _mm256_loadu_ps(x + part * 8);
    top = _mm256_max_epu32(top, _mm256_and_si256(_mm256_castps_si256(values[part]), magnitude));
  }
  const block_scale scale = scale_of(maximum_of(top));
  const __m256i usable = _mm256_set1_epi32(scale.inverse != 0 ? -1 : 0);
  __m256i codes[4];
  for (int part = 0; part < 4; part++) codes[part] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(values[part], _mm256_set1_ps(scale.inverse))), usable);
  // Packing interleaves the 128-bit halves; the permutation puts dwords back in order.
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]), _mm256_packs_epi32(codes[2], codes[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(block.codes), _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  finish_block(block, scale, sum_of(_mm256_add_epi32(codes[0], codes[1])), sum_of(_mm256_add_epi32(codes[2], codes[3])));
}

void quantize(const float *x, size_t cols, activation_block *block, size_t step) {
  size_t at = 0;
  for (; at + run_values <= cols; at += run_values, block += step) quantize_block(x + at, *block);
  if (at == cols) return;
  float rest[run_values] = {};
  __builtin_memcpy(rest, x + at, (cols - at) * sizeof(float));
  quantize_block(rest, *block);
}

}  // namespace

const backend kvq::avx2::matmul_backend = {4, quantize, select_quantized<panel_kernel, tile_product, 4>, find_exact};
