#include "cuda/tables/tables.h"

#include <cmath>

#include "cuda/attend/offset-angles.h"
#include "ops/common/half.h"

void kvq_cuda_fill_offset_angles(const kvq_rope *rope, uint32_t *out) {
  for (uint32_t pair = 0; pair < rope->head_dim / 2; pair++) {
    for (uint32_t lane = 0; lane < 64; lane++) {
      // Page lanes 0 .. 31 are tokens 31 .. 0: half a position more than `lane` before the middle; the others lie behind it.
      const double angle = (lane < 32 ? -(lane + 0.5) : lane - 31.5) * rope->frequency[pair];
      out[kvq_cuda::offset_angle_index(pair, lane)] = half_of_float(static_cast<float>(std::cos(angle))) | static_cast<uint32_t>(half_of_float(static_cast<float>(std::sin(angle)))) << 16;
    }
  }
}

void kvq_cuda_fill_angles(const kvq_rope *rope, double position, float *out) {
  float cosine[128], sine[128];
  kvq_rope_at(rope, position, cosine, sine);
  for (uint32_t pair = 0; pair < rope->head_dim / 2; pair++) {
    const float gain = pair < rope->rotary_dim / 2 ? rope->attention_factor : 1.0f;
    out[2 * pair] = cosine[pair] * gain;
    out[2 * pair + 1] = sine[pair] * gain;
  }
}

void kvq_cuda_fill_key_scales(const kvq_key_plan *plan, float *scale, float *zero) {
  for (uint32_t head = 0; head < plan->kv_heads; head++) {
    for (uint32_t code = 0; code < plan->head_dim; code++) {
      const uint32_t channel = code < plan->rotary_dim ? code / 2 + code % 2 * (plan->rotary_dim / 2) : code;
      scale[head * plan->head_dim + code] = plan->scale[head * plan->head_dim + channel];
      zero[head * plan->head_dim + code] = plan->zero[head * plan->head_dim + channel];
    }
  }
}

bool kvq_cuda_fill_levels(const float *levels, uint32_t bits, int8_t (&out)[32]) {
  for (int8_t &level : out) level = 0;
  for (uint32_t i = 0; i < 1u << bits; i++) {
    const float whole = 127 * levels[i], nearest = std::round(whole);
    if (!(std::fabs(whole - nearest) <= 1e-3f) || std::fabs(nearest) > 127) return false;
    out[i] = static_cast<int8_t>(nearest);
  }
  return true;
}
