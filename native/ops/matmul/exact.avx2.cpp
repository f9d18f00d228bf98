// Products with fp32 activations on AVX2, 8 rows at a time: float tensors, and quantized ones whose weights are decoded to fp32 (the very numbers of the file) in registers.
// The order of operations is that of exact.avx512.cpp, so results are the same.
#include "weights.avx2.h"

#include "backend.h"

namespace {

// Sums of `rows` activation rows for 8 rows of a tile, apart for even and odd columns.
template <int rows>
struct running_sums {
  __m256 even[rows], odd[rows];
  running_sums() {
    for (int row = 0; row < rows; row++) even[row] = odd[row] = _mm256_setzero_ps();
  }
  void add(bool second, __m256 weights, const float *x, size_t stride) {
    for (int row = 0; row < rows; row++) {
      __m256 &sum = second ? odd[row] : even[row];
      sum = _mm256_fmadd_ps(weights, _mm256_set1_ps(x[row * stride]), sum);
    }
  }
  void store(float *y, size_t stride, ptrdiff_t lanes) const {
    for (int row = 0; row < rows; row++) store_lanes(y + row * stride, _mm256_add_ps(even[row], odd[row]), lanes);
  }
};

template <uint32_t type>
inline __m256 load_weights(const uint8_t *codes, size_t column) {
  if constexpr (type == KVQ_F32) {
    return _mm256_castsi256_ps(load(codes + column * 64));
  } else {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + column * 32));
    return type == KVQ_F16 ? _mm256_cvtph_ps(halves) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
}

template <uint32_t type, int rows>
struct float_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    for (size_t half = 0; half < 2; half++) {
      const uint8_t *codes = tile.codes + half * (type == KVQ_F32 ? 32 : 16);
      running_sums<rows> sums;
      size_t column = 0;
      for (; column + 2 <= cols; column += 2) {
        sums.add(false, load_weights<type>(codes, column), x + column, x_stride);
        sums.add(true, load_weights<type>(codes, column + 1), x + column + 1, x_stride);
      }
      if (column < cols) sums.add(false, load_weights<type>(codes, column), x + column, x_stride);
      sums.store(y + half * half_rows, stride, static_cast<ptrdiff_t>(lanes) - static_cast<ptrdiff_t>(half * half_rows));
    }
  }
};

template <int bits, scaling kind, int rows>
struct decoded_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    for (size_t half = 0; half < 2; half++) multiply_half(tile, half, cols, x, x_stride, y + half * half_rows, stride, static_cast<ptrdiff_t>(lanes) - static_cast<ptrdiff_t>(half * half_rows));
  }

  static void multiply_half(const tile_view &tile, size_t half, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, ptrdiff_t lanes) {
    const uint8_t *codes = tile.codes + half * 32, *high = tile.high + half * 32, *record = tile.scales;
    const __m256 offset = _mm256_set1_ps(-static_cast<float>(1 << (bits - 1)));
    const __m256i byte = _mm256_set1_epi32(255);
    running_sums<rows> sums;
    for (size_t column = 0; column < cols; record += record_bytes(kind)) {
      const scale_reader<kind> scales(record, half);
      for (size_t run = 0; run < record_runs(kind); run++, column += run_values, codes += code_bytes(bits), high += high_bytes(bits)) {
        const __m256 first = scales.first(run), second = scales.second(run);
#pragma GCC unroll 8
        for (int group = 0; group < 8; group++) {
          const __m256 scale = kind == scaling::offset_k && group >= 4 ? second : first;
          // Exact, as the product of a short number and a power of two.
          const __m256 addend = kind == scaling::offset || kind == scaling::offset_k ? _mm256_mul_ps(scale, offset) : second;
          const __m256i values = decode<bits>(codes, high, group);
#pragma GCC unroll 4
          for (int value = 0; value < 4; value++) {
            const __m256i code = _mm256_and_si256(_mm256_srli_epi32(values, 8 * value), byte);
            sums.add(value % 2, _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(code), addend), x + column + group * 4 + value, x_stride);
          }
        }
      }
    }
    sums.store(y, stride, lanes);
  }
};

}  // namespace

const exact_kernel *kvq::avx2::find_exact(uint32_t type) {
  const exact_kernel *quantized = select_quantized<exact_kernel, decoded_product, 4>(type);
  return quantized ? quantized : select_floats<float_product, 4>(type);
}
