// int8 products of a 16-row tile on AVX-512 VNNI. Weights are unsigned codes (layout.h), activations signed, so vpdpbusd needs neither sign tricks nor stored row sums:
// formats with a symmetric code start their integer sum at -(offset) * (sum of activations), which makes it the exact signed product.
// 16 rows in the dword lanes need no horizontal sum; a panel of up to 8 activation rows shares each decoded run of weights.
#include "weights.avx512.h"

#include "backend.h"

namespace {

using namespace kvq::matmul;

template <int bits, scaling kind, int rows>
struct tile_product {
  static void multiply(const tile_view &tile, size_t runs, const activation_block *block, float *y, size_t stride, size_t lanes) {
    constexpr int offset_shift = bits - 1;
    const uint8_t *codes = tile.codes, *high = tile.high, *record = tile.scales;
    __m512 sums[rows];
    for (int row = 0; row < rows; row++) sums[row] = _mm512_setzero_ps();

    for (size_t done = 0; done < runs; done += record_runs(kind), record += record_bytes(kind)) {
      const scale_reader<kind> scales(record);
      for (size_t run = 0; run < record_runs(kind); run++, codes += code_bytes(bits), high += high_bytes(bits), block += rows) {
        if (tile.cold) prefetch<bits, kind>(codes, high, record);
        __m512i values[8];
        decode<bits>(codes, high, values);
        const __m512 first = scales.first(run), second = scales.second(run);
        for (int row = 0; row < rows; row++) {
          const activation_block &x = block[row];
          __m512i lower = _mm512_setzero_si512(), upper = _mm512_setzero_si512();
          if constexpr (kind == scaling::offset) lower = _mm512_slli_epi32(_mm512_set1_epi32(x.minus_sum), offset_shift);
          if constexpr (kind == scaling::offset_k) {
            lower = _mm512_slli_epi32(_mm512_set1_epi32(x.minus_halves[0]), offset_shift);
            upper = _mm512_slli_epi32(_mm512_set1_epi32(x.minus_halves[1]), offset_shift);
          }
          for (int group = 0; group < 4; group++) {
            lower = _mm512_dpbusd_epi32(lower, values[group], _mm512_set1_epi32(dword_at(x.codes, group)));
            upper = _mm512_dpbusd_epi32(upper, values[group + 4], _mm512_set1_epi32(dword_at(x.codes, group + 4)));
          }
          const __m512 step = _mm512_set1_ps(x.scale);
          __m512 &sum = sums[row];
          if constexpr (kind == scaling::offset_k) {
            sum = _mm512_fmadd_ps(_mm512_mul_ps(first, step), _mm512_cvtepi32_ps(lower), sum);
            sum = _mm512_fmadd_ps(_mm512_mul_ps(second, step), _mm512_cvtepi32_ps(upper), sum);
          } else {
            sum = _mm512_fmadd_ps(_mm512_mul_ps(first, step), _mm512_cvtepi32_ps(_mm512_add_epi32(lower, upper)), sum);
            if constexpr (kind != scaling::offset) sum = _mm512_fmadd_ps(second, _mm512_set1_ps(x.scaled_sum), sum);
          }
        }
      }
    }
    for (int row = 0; row < rows; row++) store_lanes(y + row * stride, sums[row], lanes);
  }
};

// Blocks of 32: two vectors. The maximum is taken over bit patterns, where NaN is above infinity above every number.
void quantize(const float *x, size_t cols, activation_block *blocks, size_t step) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (size_t at = 0; at < cols; at += run_values, blocks += step) {
    const size_t left = cols - at;
    const __mmask32 mask = left >= run_values ? 0xffffffffu : (1u << left) - 1;
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + at), high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + at + 16);
    const uint32_t top = _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude), _mm512_and_si512(_mm512_castps_si512(high), magnitude)));
    const block_scale scale = scale_of(top);
    const __mmask16 usable = scale.inverse != 0 ? 0xffff : 0;
    const __m512i first = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(low, _mm512_set1_ps(scale.inverse)));
    const __m512i second = _mm512_maskz_cvtps_epi32(usable, _mm512_mul_ps(high, _mm512_set1_ps(scale.inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(blocks->codes), _mm512_cvtepi32_epi8(first));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(blocks->codes + 16), _mm512_cvtepi32_epi8(second));
    finish_block(*blocks, scale, _mm512_reduce_add_epi32(first), _mm512_reduce_add_epi32(second));
  }
}

}  // namespace

const backend kvq::avx512::matmul_backend = {8, quantize, select_quantized<panel_kernel, tile_product, 8>, find_exact};
