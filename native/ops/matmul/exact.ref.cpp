// Products with fp32 activations in plain C++: float tensors, and quantized ones decoded to the file's fp32 numbers. Even and odd columns have a sum each, as in the vector files;
// products are rounded before they are added, so the results differ from theirs by rounding.
#include <string.h>

#include "backend.h"
#include "weights.ref.h"

namespace {

template <uint32_t type>
float weight_at(const uint8_t *codes, size_t index) {
  if constexpr (type == KVQ_F32) {
    float value;
    memcpy(&value, codes + index * 4, 4);
    return value;
  } else {
    uint16_t half;
    memcpy(&half, codes + index * 2, 2);
    return type == KVQ_F16 ? float_of_half(half) : std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
  }
}

template <uint32_t type, int rows>
struct float_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    for (size_t lane = 0; lane < lanes; lane++) {
      float sums[rows][2] = {};
      for (size_t column = 0; column < cols; column++) {
        const float weight = weight_at<type>(tile.codes, column * tile_rows + lane);
        for (int row = 0; row < rows; row++) sums[row][column % 2] += weight * x[row * x_stride + column];
      }
      for (int row = 0; row < rows; row++) y[row * stride + lane] = sums[row][0] + sums[row][1];
    }
  }
};

template <int bits, scaling kind, int rows>
struct decoded_product {
  static void multiply(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes) {
    constexpr int offset = 1 << (bits - 1);
    for (size_t lane = 0; lane < lanes; lane++) {
      float sums[rows][2] = {};
      for (size_t run = 0; run < cols / run_values; run++) {
        uint8_t codes[run_values];
        decode<bits>(tile.codes + run * code_bytes(bits), tile.high + run * high_bytes(bits), lane, codes);
        const row_scales scales = scales_of<kind>(tile.scales + run / record_runs(kind) * record_bytes(kind), run % record_runs(kind), lane);
        for (size_t value = 0; value < run_values; value++) {
          // The product of a code and a scale is exact in fp32, so a weight is rounded once.
          float weight;
          if constexpr (kind == scaling::offset) weight = scales.first * (codes[value] - offset);
          else if constexpr (kind == scaling::offset_k) weight = (value < 16 ? scales.first : scales.second) * (codes[value] - offset);
          else weight = scales.first * codes[value] + scales.second;
          for (int row = 0; row < rows; row++) sums[row][value % 2] += weight * x[row * x_stride + run * run_values + value];
        }
      }
      for (int row = 0; row < rows; row++) y[row * stride + lane] = sums[row][0] + sums[row][1];
    }
  }
};

}  // namespace

const exact_kernel *kvq::scalar::find_exact(uint32_t type) {
  const exact_kernel *quantized = select_quantized<exact_kernel, decoded_product, 4>(type);
  return quantized ? quantized : select_floats<float_product, 4>(type);
}
