// Activations: rows of fp32 that stay with the caller, and their int8 blocks in panels.
#include <stdlib.h>

#include "backend.h"

using namespace kvq::matmul;

kvq_status kvq_activations_create(kvq_isa isa, kvq_activations **out) {
  if (!out) return KVQ_INVALID_ARGUMENT;
  *out = nullptr;
  if (!kvq_isa_available(isa)) return KVQ_UNSUPPORTED;
  kvq_activations *activations = static_cast<kvq_activations *>(malloc(sizeof(kvq_activations)));
  if (!activations) return KVQ_OUT_OF_CAPACITY;
  *activations = {&backend_of(isa), nullptr, 0, nullptr, 0, 0, 0, 0};
  *out = activations;
  return KVQ_OK;
}

void kvq_activations_destroy(kvq_activations *activations) {
  if (!activations) return;
  free(activations->blocks);
  free(activations);
}

kvq_status kvq_activations_reserve(kvq_activations *activations, size_t rows, size_t cols) {
  const size_t runs = cols / run_values + (cols % run_values != 0);
  if (runs != 0 && rows > SIZE_MAX / 2 / sizeof(activation_block) / runs) return KVQ_OUT_OF_CAPACITY;
  const size_t needed = rows * runs;
  if (needed <= activations->capacity) return KVQ_OK;
  // aligned_alloc wants whole multiples of the alignment.
  const size_t bytes = (needed * sizeof(activation_block) + 63) / 64 * 64;
  activation_block *blocks = static_cast<activation_block *>(aligned_alloc(64, bytes));
  if (!blocks) return KVQ_OUT_OF_CAPACITY;
  free(activations->blocks);
  activations->blocks = blocks;
  activations->capacity = needed;
  return KVQ_OK;
}

void kvq_activations_begin(kvq_activations *activations, const float *x, size_t rows, size_t cols, size_t stride) {
  activations->x = x;
  activations->rows = rows;
  activations->cols = cols;
  activations->stride = stride;
  activations->runs = cols / run_values + (cols % run_values != 0);
}

void kvq_activations_fill(kvq_activations *activations, size_t first, size_t count) {
  const backend &code = *activations->backend;
  for (size_t row = first; row < first + count; row++) {
    const panel place = panel_of(row, activations->rows, code.largest_panel);
    code.quantize(activations->x + row * activations->stride, activations->cols, activations->blocks + place.first * activations->runs + (row - place.first), place.rows);
  }
}
