// kvq_rope_apply: (a, b) -> gain * (a cos - b sin, a sin + b cos) for the channel pairs (p, p + rotary_dim / 2) of every head. Channels from rotary_dim on stay as they are.
#include "kvquant/rope.h"

namespace {

void rotate(const float *__restrict cosine, const float *__restrict sine, float gain, float *__restrict low, float *__restrict high, uint32_t pairs) {
  for (uint32_t p = 0; p < pairs; p++) {
    const float a = low[p], b = high[p];
    low[p] = (a * cosine[p] - b * sine[p]) * gain;
    high[p] = (a * sine[p] + b * cosine[p]) * gain;
  }
}

}  // namespace

void kvq_rope_apply(const kvq_rope *rope, const float *cosine, const float *sine, float gain, float *row, uint32_t heads) {
  const uint32_t pairs = rope->rotary_dim / 2;
  for (uint32_t head = 0; head < heads; head++) {
    float *start = row + static_cast<size_t>(head) * rope->head_dim;
    rotate(cosine, sine, gain, start, start + pairs, pairs);
  }
}
