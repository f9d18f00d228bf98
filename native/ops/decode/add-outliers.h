// Adds the differences of a head's outlier section, checked before, to decoded rows.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/page.h"
#include "ops/page/half.h"

namespace {

// out: the head's first column of token 0; `channel_of` gives the channel of an index.
template <class ChannelOf>
inline void add_outliers(const uint8_t *section, uint32_t tokens, float *out, size_t stride, ChannelOf channel_of) {
  const auto count_of = [&](uint32_t token) { return static_cast<uint32_t>(section[token / 2] >> (4 * (token % 2)) & 15); };
  size_t entries = 0;
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) entries += count_of(token);
  const uint8_t *delta = section + KVQ_PAGE_TOKENS / 2;
  const uint8_t *index = delta + 2 * entries;
  for (uint32_t token = 0; token < tokens; token++) {
    float *const row = out + token * stride;
    for (uint32_t slot = 0; slot < count_of(token); slot++, delta += 2, index++) row[channel_of(*index)] += float_of_half(read_half(delta));
  }
}

}  // namespace
