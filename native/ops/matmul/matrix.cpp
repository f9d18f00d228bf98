// Packed matrices: their memory, and rows moving in and out. kvq_matrix_fill takes the source in groups of 16 rows, because these usually share a tile
// and write the same cache lines.
#include <stdlib.h>

#include "matmul.h"
#include "memory.h"
#include "pack.h"

using namespace kvq::matmul;

namespace {

constexpr size_t alignment = 64;

constexpr size_t divide_up(size_t value, size_t by) { return value / by + (value % by != 0); }
constexpr size_t align_up(size_t value) { return divide_up(value, alignment) * alignment; }

row_view view_of(const kvq_matrix *matrix, size_t row) {
  const size_t tile = row / tile_rows;
  return {matrix->codes + tile * matrix->code_tile_bytes, matrix->high + tile * matrix->high_tile_bytes, matrix->scales + tile * matrix->scale_tile_bytes, row % tile_rows};
}

}  // namespace

size_t kvq_row_bytes(uint32_t type, size_t cols) {
  const format *found = find_format(type);
  if (!found || cols % found->block_values != 0 || cols / found->block_values > SIZE_MAX / found->block_bytes) return 0;
  return cols / found->block_values * found->block_bytes;
}

kvq_status kvq_matrix_create(kvq_isa isa, uint32_t type, size_t rows, size_t cols, int exact, kvq_matrix **out) {
  if (!out) return KVQ_INVALID_ARGUMENT;
  *out = nullptr;
  if (!kvq_isa_available(isa)) return KVQ_UNSUPPORTED;
  const format *found = find_format(type);
  if (!found || cols % found->block_values != 0) return KVQ_UNSUPPORTED;
  if (rows == 0 || cols == 0) return KVQ_INVALID_ARGUMENT;
  const size_t tiles = divide_up(rows, tile_rows);
  // 64 bytes is the most that 16 rows of a column take.
  if (cols > SIZE_MAX / 128 || tiles > SIZE_MAX / 2 / (cols * 64 + 3 * alignment)) return KVQ_OUT_OF_CAPACITY;

  size_t code_tile = cols * tile_rows * found->block_bytes, high_tile = 0, scale_tile = 0;
  if (found->bits) {
    const size_t runs = cols / run_values;
    code_tile = runs * code_bytes(found->bits);
    high_tile = runs * high_bytes(found->bits);
    scale_tile = runs / record_runs(found->kind) * record_bytes(found->kind);
  }
  const size_t codes = align_up(tiles * code_tile), high = align_up(tiles * high_tile), scales = align_up(tiles * scale_tile);
  kvq_matrix *matrix = static_cast<kvq_matrix *>(malloc(sizeof(kvq_matrix)));
  const size_t bytes = codes + high + scales;
  uint8_t *planes = matrix ? static_cast<uint8_t *>(allocate_zeros(bytes)) : nullptr;
  if (!planes) {
    free(matrix);
    return KVQ_OUT_OF_CAPACITY;
  }
  const backend &code = backend_of(isa);
  *matrix = {found, exact ? nullptr : code.find_fast(type), code.find_exact(type), isa, rows, cols, tiles, code_tile, high_tile, scale_tile, planes, planes + codes, planes + codes + high, bytes};
  *out = matrix;
  return KVQ_OK;
}

void kvq_matrix_destroy(kvq_matrix *matrix) {
  if (!matrix) return;
  release_zeros(matrix->codes, matrix->bytes);
  free(matrix);
}

size_t kvq_matrix_bytes(const kvq_matrix *matrix) { return sizeof(kvq_matrix) + matrix->bytes; }
kvq_matrix_shape kvq_matrix_shape_of(const kvq_matrix *matrix) { return {matrix->rows, matrix->cols, kvq_row_bytes(matrix->format->type, matrix->cols)}; }
size_t kvq_matrix_tiles(const kvq_matrix *matrix) { return matrix->tiles; }

const char *kvq_matrix_path(const kvq_matrix *matrix) {
  static constexpr const char *paths[KVQ_ISA_COUNT][5] = {
      {"scalar fp32", "scalar 4-bit", "scalar 5-bit", "scalar 6-bit", "scalar 8-bit"},
      {"avx2 fp32", "avx2 4-bit", "avx2 5-bit", "avx2 6-bit", "avx2 8-bit"},
      {"avx512 fp32", "avx512-vnni 4-bit", "avx512-vnni 5-bit", "avx512-vnni 6-bit", "avx512-vnni 8-bit"},
  };
  const int bits = matrix->fast ? matrix->format->bits : 0;
  return paths[matrix->isa][bits == 0 ? 0 : bits == 8 ? 4 : bits - 3];
}

kvq_status kvq_matrix_fill(kvq_matrix *matrix, const uint8_t *bytes, size_t count, size_t first, const uint32_t *target) {
  if (!target && (first > matrix->rows || count > matrix->rows - first)) return KVQ_INVALID_ARGUMENT;
  for (size_t row = 0; target && row < count; row++)
    if (target[row] >= matrix->rows) return KVQ_INVALID_ARGUMENT;
  const size_t row_bytes = kvq_row_bytes(matrix->format->type, matrix->cols);
  const size_t blocks = matrix->cols / matrix->format->block_values;
  const block_packer pack = find_packer(matrix->format->type);
  // Floats are moved 16 columns at a time.
  const size_t step = matrix->format->bits ? 1 : 16;
  for (size_t group = 0; group < count; group += tile_rows) {
    const size_t size = count - group < tile_rows ? count - group : tile_rows;
    for (size_t block = 0; block < blocks; block += step) {
      const size_t blocks_now = blocks - block < step ? blocks - block : step;
      for (size_t row = group; row < group + size; row++)
        pack(view_of(matrix, target ? target[row] : first + row), block, blocks_now, bytes + row * row_bytes + block * matrix->format->block_bytes);
    }
  }
  return KVQ_OK;
}

kvq_status kvq_matrix_read(const kvq_matrix *matrix, size_t row, uint8_t *bytes) {
  if (row >= matrix->rows) return KVQ_INVALID_ARGUMENT;
  find_unpacker(matrix->format->type)(view_of(matrix, row), 0, matrix->cols / matrix->format->block_values, bytes);
  return KVQ_OK;
}
