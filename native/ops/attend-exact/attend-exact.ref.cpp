// Reference: one query and one view at a time, online softmax in base 2, fp32.
#include <cmath>

#include "ops/attend-exact/attend-exact.h"
#include "ops/common/half.h"

namespace {

float score(const float *q, const uint16_t *key, uint32_t head_dim, uint32_t token) {
  float sum = 0;
  for (uint32_t channel = 0; channel < head_dim; channel++) sum += q[channel] * float_of_half(key[channel * KVQ_PAGE_TOKENS + token]);
  return sum;
}

// sum [head_dim] += weight * value of one token, panel after panel.
void add_value(float weight, const uint16_t *value, uint32_t head_dim, uint32_t token, float *sum) {
  for (uint32_t start = 0; start < head_dim; start += 64) {
    const uint32_t width = kvq::panel_width(head_dim, start);
    const uint16_t *row = value + start * KVQ_PAGE_TOKENS + token * width;
    for (uint32_t channel = 0; channel < width; channel++) sum[start + channel] += weight * float_of_half(row[channel]);
  }
}

void add_view(const kvq::exact_call &call, const kvq_exact_view &view, uint32_t g, float *scores) {
  const uint16_t *key = kvq::exact_head(view.key, call.head_dim, call.head), *value = kvq::exact_head(view.value, call.head_dim, call.head);
  const float *q = call.q + static_cast<size_t>(g) * call.head_dim;
  float *sum = call.out.sum + static_cast<size_t>(g) * call.head_dim;

  float largest = call.out.maximum[g];
  for (uint32_t token = 0; token < view.tokens; token++) {
    scores[token] = score(q, key, call.head_dim, token) * call.scale;
    if (scores[token] > largest) largest = scores[token];
  }
  if (largest > call.out.maximum[g]) {
    const float factor = std::exp2(call.out.maximum[g] - largest);
    call.out.total[g] *= factor;
    for (uint32_t channel = 0; channel < call.head_dim; channel++) sum[channel] *= factor;
    call.out.maximum[g] = largest;
  }
  for (uint32_t token = 0; token < view.tokens; token++) {
    const float weight = std::exp2(scores[token] - largest);
    call.out.total[g] += weight;
    add_value(weight, value, call.head_dim, token, sum);
  }
}

}  // namespace

void kvq::scalar::attend_exact(const exact_call &call) {
  float *scores = static_cast<float *>(call.scratch);
  for (size_t i = 0; i < call.count; i++)
    for (uint32_t g = 0; g < call.group; g++) add_view(call, call.views[i], g, scores);
}
