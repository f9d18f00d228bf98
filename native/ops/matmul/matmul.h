// Internal contract of the quantized matrix product: a packed matrix, prepared activations, and the kernels of each instruction set.
#pragma once

#include "layout.h"

namespace kvq::matmul {

// 32 activations of a row: x is about scale * codes. A block with a value that is not finite has scale NaN and codes 0; one whose values all lie below 2^-100 is zero.
struct activation_block {
  int8_t codes[run_values]; // -127 .. 127, rounded to nearest even
  float scale;              // max |x| / 127
  float scaled_sum;         // scale * sum of codes
  int32_t minus_sum;        // -(sum of codes)
  int32_t minus_halves[2];  // -(sum of codes 0 .. 15), -(sum of codes 16 .. 31)
};
static_assert(sizeof(activation_block) == 52);

// Activation rows lie in panels: as many of `largest` rows as there are, then at most one each of the smaller powers of two.
// A panel is [run][row of the panel] blocks, so that a kernel for n rows walks it with one pointer. Its first block is number first * runs.
struct panel {
  size_t first, rows;
};
static inline panel panel_of(size_t row, size_t rows, size_t largest) {
  size_t first = rows - rows % largest;
  if (row < first) return {row - row % largest, largest};
  size_t size = largest / 2;
  for (; !(rows & size) || row >= first + size; size /= 2)
    if (rows & size) first += size;
  return {first, size};
}

// Where one tile starts in the planes. `cold`: nobody has read it lately, so the kernel fetches ahead (8 rows of SmolLM2 take 7.6 ms instead of 9.6);
// when the tile is in a cache already, fetching would only cost instructions (8% of a prompt).
struct tile_view {
  const uint8_t *codes, *high, *scales;
  bool cold;
};

// y[row * stride + lane] for all rows of the panel and lanes < `lanes` (1 .. 16) of the tile.
using panel_kernel = void (*)(const tile_view &tile, size_t runs, const activation_block *activations, float *y, size_t stride, size_t lanes);
// The same from fp32 activations [rows][cols], row stride x_stride.
using exact_kernel = void (*)(const tile_view &tile, size_t cols, const float *x, size_t x_stride, float *y, size_t stride, size_t lanes);

// Kernels for panels of 1, 2, 4 and 8 rows. All of them compute a row by the same operations in the same order.
constexpr int panel_sizes = 4;

// What an instruction set offers.
struct backend {
  size_t largest_panel; // a power of two, at most 8
  // Quantizes one row into every `step`-th block.
  void (*quantize)(const float *x, size_t cols, activation_block *blocks, size_t step);
  // Kernels [panel_sizes] of a tensor type, null for float types.
  const panel_kernel *(*find_fast)(uint32_t type);
  // The same for products with fp32 activations; every type has them.
  const exact_kernel *(*find_exact)(uint32_t type);
};

const backend &backend_of(kvq_isa isa);

}  // namespace kvq::matmul

struct kvq_matrix {
  const kvq::matmul::format *format;
  const kvq::matmul::panel_kernel *fast; // null when the product is exact
  const kvq::matmul::exact_kernel *exact;
  kvq_isa isa;
  size_t rows, cols, tiles;
  size_t code_tile_bytes, high_tile_bytes, scale_tile_bytes;
  uint8_t *codes, *high, *scales; // planes, one after another in one allocation
  size_t bytes;                   // of the planes
};

struct kvq_activations {
  const kvq::matmul::backend *backend;
  kvq::matmul::activation_block *blocks;
  size_t capacity; // blocks
  const float *x;
  size_t rows, cols, stride, runs;
};
