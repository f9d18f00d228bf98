// Reference: one row at a time, in the order of the tokens, fp32.
#include <cmath>

#include "ops/attend-exact/attend-exact.h"
#include "ops/attend-tile/attend-tile.h"
#include "ops/common/half.h"

namespace {

void add_row(const kvq::tile_call &call, uint32_t row) {
  const float *q = call.q + static_cast<size_t>(row) * call.head_dim;
  float *sum = call.state.sum + static_cast<size_t>(row) * call.head_dim;
  float largest = call.state.maximum[row];
  for (uint32_t token = 0; token < call.seen[row]; token++) {
    float score = 0;
    for (uint32_t channel = 0; channel < call.head_dim; channel++) score += q[channel] * call.keys[channel * KVQ_PAGE_TOKENS + token];
    call.weights[token] = score;
    if (score > largest) largest = score;
  }
  const float factor = std::exp2(call.state.maximum[row] - largest);
  call.state.maximum[row] = largest;
  call.state.total[row] *= factor;
  for (uint32_t channel = 0; channel < call.head_dim; channel++) sum[channel] *= factor;
  for (uint32_t token = 0; token < call.seen[row]; token++) {
    const float weight = std::exp2(call.weights[token] - largest);
    call.state.total[row] += weight;
    const float *value = call.values + static_cast<size_t>(token) * call.head_dim;
    for (uint32_t channel = 0; channel < call.head_dim; channel++) sum[channel] += weight * value[channel];
  }
}

}  // namespace

void kvq::scalar::attend_tile(const tile_call &call) {
  for (uint32_t row = 0; row < call.rows; row++)
    if (call.seen[row] > 0) add_row(call, row);
}

void kvq::scalar::stage_exact(uint32_t head_dim, const uint16_t *key, const uint16_t *value, uint32_t tokens, float *keys, float *values) {
  for (uint32_t channel = 0; channel < head_dim; channel++) {
    const uint32_t start = channel / 64 * 64, width = panel_width(head_dim, start);
    const uint16_t *column = value + start * KVQ_PAGE_TOKENS + channel - start;
    for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) {
      const bool valid = token < tokens;
      keys[channel * KVQ_PAGE_TOKENS + token] = valid ? float_of_half(key[channel * KVQ_PAGE_TOKENS + token]) : 0;
      values[token * head_dim + channel] = valid ? float_of_half(column[token * width]) : 0;
    }
  }
}
