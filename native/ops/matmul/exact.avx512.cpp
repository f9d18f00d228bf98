// Products with fp32 activations on AVX-512: float tensors, and quantized ones whose weights are decoded to fp32 (the very numbers of the file) in registers.
// Even and odd columns have a sum each, which hides the latency of the multiply-add when there is one row, and leaves room for 8 rows.
#include "weights.avx512.h"

#include "backend.h"

namespace {

// Sums of `rows` activation rows for the 16 rows of a tile.
template <int rows>
struct running_sums {
  __m512 even[rows], odd[rows];
  running_sums() {
    for (int row = 0; row < rows; row++) even[row] = odd[row] = _mm512_setzero_ps();
  }
  void add(bool second, __m512 weights, const float *x, size_t stride) {
    for (int row = 0; row < rows; row++) {
      __m512 &sum = second ? odd[row] : even[row];
      sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[row * stride]), sum);
    }
  }
  void store(float *y, size_t stride, size_t lanes) const {
    for (int row = 0; row < rows; row++) store_lanes(y + row * stride, _mm512_add_ps(even[row], odd[row]), lanes);
  }
};

template <uint32_t type>
inline __m512 load_weights(const uint8_t *codes, size_t column) {
  if constexpr (type == KVQ_F32) {
    return _mm512_loadu_ps(codes + column * 64);
  } else {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(codes + column * 32));
    return type == KVQ_F16 ? _mm512_cvtph_ps(halves) : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
}

template <uint32_t type, int rows>
struct float_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    running_sums<rows> sums;
    size_t column = 0;
    for (; column + 2 <= cols; column += 2) {
      if (tile.cold) {
        __builtin_prefetch(tile.codes + (column + 64) * (type == KVQ_F32 ? 64 : 32));
        if constexpr (type == KVQ_F32) __builtin_prefetch(tile.codes + (column + 65) * 64);
      }
      sums.add(false, load_weights<type>(tile.codes, column), x + column, x_stride);
      sums.add(true, load_weights<type>(tile.codes, column + 1), x + column + 1, x_stride);
    }
    if (column < cols) sums.add(false, load_weights<type>(tile.codes, column), x + column, x_stride);
    sums.store(y, stride, lanes);
  }
};

template <int bits, scaling kind, int rows>
struct decoded_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    const uint8_t *codes = tile.codes, *high = tile.high, *record = tile.scales;
    const __m512 offset = _mm512_set1_ps(-static_cast<float>(1 << (bits - 1)));
    const __m512i byte = _mm512_set1_epi32(255);
    running_sums<rows> sums;
    for (size_t column = 0; column < cols; record += record_bytes(kind)) {
      const scale_reader<kind> scales(record);
      for (size_t run = 0; run < record_runs(kind); run++, column += run_values, codes += code_bytes(bits), high += high_bytes(bits)) {
        if (tile.cold) prefetch<bits, kind>(codes, high, record);
        __m512i values[8];
        decode<bits>(codes, high, values);
        const __m512 first = scales.first(run), second = scales.second(run);
        for (int group = 0; group < 8; group++) {
          const __m512 scale = kind == scaling::offset_k && group >= 4 ? second : first;
          // Exact, as the products of a half or a 19-bit number and a small power of two.
          const __m512 addend = kind == scaling::offset || kind == scaling::offset_k ? _mm512_mul_ps(scale, offset) : second;
          for (int value = 0; value < 4; value++) {
            const __m512i code = _mm512_and_si512(_mm512_srli_epi32(values[group], 8 * value), byte);
            sums.add(value % 2, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(code), addend), x + column + group * 4 + value, x_stride);
          }
        }
      }
    }
    sums.store(y, stride, lanes);
  }
};

}  // namespace

const exact_kernel *kvq::avx512::find_exact(uint32_t type) {
  const exact_kernel *quantized = select_quantized<exact_kernel, decoded_product, 8>(type);
  return quantized ? quantized : select_floats<float_product, 8>(type);
}
