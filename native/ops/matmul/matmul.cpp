// The product: which kernel, and in which order tiles and activation rows meet. A group of tiles stays in a cache while all rows pass by it.
// Measured on one Zen 4 core, one thread: 4.5 ms for the 97 MB of a SmolLM2-135M token (20-25 GB/s, the speed of the memory), 5.1 ms for 4 tokens, 7.6 ms for 8;
// 130-150 G multiply-adds a second in a prompt (vpdpbusd alone would allow 230, with the scaling of each run 163). AVX2: 7.2 ms, 80-90 G.
#include "matmul.h"

#include "backend.h"

using namespace kvq::matmul;

namespace {

// Bytes of packed weights that all activation rows pass by before the next ones are read: they stay in L2. Sizes from 12 to 256 KB measure the same on Zen 4.
constexpr size_t group_bytes = 128 * 1024;

tile_view tile_of(const kvq_matrix &matrix, size_t tile, bool cold) {
  return {matrix.codes + tile * matrix.code_tile_bytes, matrix.high + tile * matrix.high_tile_bytes, matrix.scales + tile * matrix.scale_tile_bytes, cold};
}

int index_of(size_t panel_rows) { return panel_rows == 1 ? 0 : panel_rows == 2 ? 1 : panel_rows == 4 ? 2 : 3; }

}  // namespace

const backend &kvq::matmul::backend_of(kvq_isa isa) {
#if defined(__x86_64__)
  if (isa == KVQ_ISA_AVX512) return avx512::matmul_backend;
  if (isa == KVQ_ISA_AVX2) return avx2::matmul_backend;
#endif
  (void)isa;
  return scalar::matmul_backend;
}

void kvq_matmul(const kvq_matrix *matrix, const kvq_activations *activations, float *y, size_t stride, size_t first, size_t count) {
  const size_t tile_bytes = matrix->code_tile_bytes + matrix->high_tile_bytes + matrix->scale_tile_bytes;
  const size_t group = tile_bytes < group_bytes ? group_bytes / tile_bytes : 1;
  const size_t rows = activations->rows, largest = activations->backend->largest_panel;
  for (size_t start = first; start < first + count; start += group) {
    const size_t end = start + group < first + count ? start + group : first + count;
    for (size_t row = 0; row < rows;) {
      const size_t panel_rows = panel_of(row, rows, largest).rows;
      const int index = index_of(panel_rows);
      const activation_block *blocks = activations->blocks + row * activations->runs;
      const float *x = activations->x + row * activations->stride;
      for (size_t tile = start; tile < end; tile++) {
        const size_t left = matrix->rows - tile * tile_rows, lanes = left < tile_rows ? left : tile_rows;
        float *out = y + row * stride + tile * tile_rows;
        const tile_view view = tile_of(*matrix, tile, row == 0);
        if (matrix->fast) matrix->fast[index](view, activations->runs, blocks, out, stride, lanes);
        else matrix->exact[index](view, matrix->cols, x, activations->stride, out, stride, lanes);
      }
      row += panel_rows;
    }
  }
}
