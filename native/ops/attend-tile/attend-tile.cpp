// Entry points of prefill attention: choice of the ISA, scratch, and the final division.
#include "ops/attend-tile/attend-tile.h"

#include "ops/attend-exact/attend-exact.h"
#include "ops/common/dispatch.h"

void kvq_attend_tile(kvq_isa isa, uint32_t head_dim, const float *q, uint32_t rows, const float *keys, const float *values, const uint8_t *seen, kvq_rows_state state, void *scratch) {
  KVQ_SELECT(isa, attend_tile)({head_dim, q, rows, keys, values, seen, state, static_cast<float *>(scratch)});
}

size_t kvq_tile_scratch(uint32_t) { return kvq::tile_block_rows * KVQ_PAGE_TOKENS * sizeof(float); }

void kvq_stage_exact(kvq_isa isa, uint32_t head_dim, uint32_t, uint32_t head, const kvq_exact_view *view, float *keys, float *values) {
  KVQ_SELECT(isa, stage_exact)(head_dim, kvq::exact_head(view->key, head_dim, head), kvq::exact_head(view->value, head_dim, head), view->tokens, keys, values);
}

void kvq_finish_rows(uint32_t head_dim, uint32_t rows, kvq_rows_state state, float *out) {
  for (uint32_t row = 0; row < rows; row++) {
    const float *__restrict sum = state.sum + static_cast<size_t>(row) * head_dim;
    float *__restrict place = out + static_cast<size_t>(row) * head_dim;
    const float scale = 1 / state.total[row];
    for (uint32_t channel = 0; channel < head_dim; channel++) place[channel] = sum[channel] * scale;
  }
}
