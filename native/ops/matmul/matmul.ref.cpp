// The product in plain C++, on the same packed bytes. int8 products are the same numbers, bit for bit, as those of the vector files: integer sums are exact, and the fp32
// operations are the same fused multiply-adds in the same order.
#include <math.h>

#include "backend.h"
#include "weights.ref.h"

namespace {

using namespace kvq::matmul;

int dot(const uint8_t *values, const int8_t *x, int from) {
  int sum = 0;
  for (int value = from; value < from + 16; value++) sum += values[value] * x[value];
  return sum;
}

template <int bits, scaling kind, int rows>
struct tile_product {
  static void multiply(const tile_view &tile, size_t runs, const activation_block *blocks, float *y, size_t stride, size_t lanes) {
    constexpr size_t group_runs = record_runs(kind);
    constexpr int offset = 1 << (bits - 1);
    for (size_t lane = 0; lane < lanes; lane++) {
      float sums[rows] = {};
      for (size_t run = 0; run < runs; run++) {
        uint8_t values[run_values];
        decode<bits>(tile.codes + run * code_bytes(bits), tile.high + run * high_bytes(bits), lane, values);
        const row_scales scales = scales_of<kind>(tile.scales + run / group_runs * record_bytes(kind), run % group_runs, lane);
        for (int row = 0; row < rows; row++) {
          const activation_block &x = blocks[run * rows + row];
          const int lower = dot(values, x.codes, 0), upper = dot(values, x.codes, 16);
          float &sum = sums[row];
          if constexpr (kind == scaling::offset_k) {
            sum = fmaf(scales.first * x.scale, static_cast<float>(lower + offset * x.minus_halves[0]), sum);
            sum = fmaf(scales.second * x.scale, static_cast<float>(upper + offset * x.minus_halves[1]), sum);
          } else if constexpr (kind == scaling::offset) {
            sum = fmaf(scales.first * x.scale, static_cast<float>(lower + upper + offset * x.minus_sum), sum);
          } else {
            sum = fmaf(scales.first * x.scale, static_cast<float>(lower + upper), sum);
            sum = fmaf(scales.second, x.scaled_sum, sum);
          }
        }
      }
      for (int row = 0; row < rows; row++) y[row * stride + lane] = sums[row];
    }
  }
};

void quantize(const float *x, size_t cols, activation_block *block, size_t step) {
  for (size_t at = 0; at < cols; at += run_values, block += step) {
    const size_t count = cols - at < run_values ? cols - at : run_values;
    uint32_t top = 0;
    for (size_t value = 0; value < count; value++) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(x[at + value]) & 0x7fffffff;
      if (magnitude > top) top = magnitude;
    }
    const block_scale scale = scale_of(top);
    int32_t sums[2] = {0, 0};
    for (size_t value = 0; value < run_values; value++) {
      const int32_t code = value < count && scale.inverse != 0 ? static_cast<int32_t>(lrintf(x[at + value] * scale.inverse)) : 0;
      block->codes[value] = static_cast<int8_t>(code);
      sums[value / 16] += code;
    }
    finish_block(*block, scale, sums[0], sums[1]);
  }
}

}  // namespace

const backend kvq::scalar::matmul_backend = {4, quantize, select_quantized<panel_kernel, tile_product, 4>, find_exact};
