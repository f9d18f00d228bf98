// Page-local scales and zero points of the keys of one head (docs/format.md section 2.2).
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kvquant/page.h"
#include "ops/page/code-channels.h"
#include "ops/page/page-scale.h"

namespace {

// Scale and zero point of each channel of a head.
struct head_scales {
  float scale[maximum_head_dim];
  float zero[maximum_head_dim];
};

// Smallest and largest number of each channel over rows [tokens][stride]; a lane is a channel.
inline void channel_ranges(const float *rows, size_t stride, uint32_t tokens, uint32_t head_dim, float *low, float *high) {
  for (uint32_t channel = 0; channel < head_dim; channel += lanes::width) {
    lanes::floats least = lanes::load(rows + channel);
    lanes::floats most = least;
    for (uint32_t token = 1; token < tokens; token++) {
      const lanes::floats x = lanes::load(rows + token * stride + channel);
      least = lanes::minimum(least, x);
      most = lanes::maximum(most, x);
    }
    lanes::store(low + channel, least);
    lanes::store(high + channel, most);
  }
}

inline double round_away_from_zero(double x) { return x < 0 ? -__builtin_floor(0.5 - x) : __builtin_floor(x + 0.5); }

// One channel: a, z are its offline scale and zero point; writes the two stored bytes and what they decode to. Returns 1 when one had to be clamped.
inline uint32_t measure_channel(float a, float z, float low, float high, uint8_t &stored_scale, uint8_t &stored_zero, float &scale, float &zero) {
  const float middle = (low + high) / 2.0f;
  const double offset = round_away_from_zero((middle - z) * 64.0f / a);
  const double n = offset < -128 ? -128 : offset > 127 ? 127 : offset;
  zero = z + a * static_cast<float>(n) / 64.0f;
  float half = (high - low) / 2.0f;
  if (n != offset) half = high - zero > zero - low ? high - zero : zero - low;
  const int exponent = high == low ? lowest_exponent : rounded_exponent(half / a);
  const int e = exponent < lowest_exponent ? lowest_exponent : exponent > highest_exponent ? highest_exponent : exponent;
  scale = a * power_of_exponent(e);
  stored_scale = static_cast<uint8_t>(e - lowest_exponent);
  stored_zero = static_cast<uint8_t>(static_cast<int>(n) + 128);
  return n != offset || e != exponent;
}

// Measures a head's rows [tokens][stride]; fills `scales` by channel and `side` [side_bytes] in code order. `a`, `z`: the head's offline arrays. Returns how many channels were clamped.
inline uint32_t measure_page_scales(const float *rows, size_t stride, uint32_t tokens, const code_channels &channels, uint32_t head_dim, const float *a, const float *z, uint8_t *side,
                                    uint32_t side_bytes, head_scales &scales) {
  float low[maximum_head_dim], high[maximum_head_dim];
  channel_ranges(rows, stride, tokens, head_dim, low, high);
  uint32_t clamped = 0;
  for (uint32_t code = 0; code < head_dim; code++) {
    const uint32_t channel = channels.of[code];
    clamped += measure_channel(a[channel], z[channel], low[channel], high[channel], side[code], side[head_dim + code], scales.scale[channel], scales.zero[channel]);
  }
  memset(side + 2 * head_dim, 0, side_bytes - 2 * head_dim);
  return clamped;
}

}  // namespace
