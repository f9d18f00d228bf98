// Writes the outlier section of one head (docs/format.md section 1.3).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kvquant/page.h"
#include "ops/page/half.h"

namespace {

// Entries go anywhere in the section once the counts are known.
class outlier_section {
 public:
  outlier_section(uint8_t *out, const uint8_t (&counts)[KVQ_PAGE_TOKENS]) : deltas_(out + KVQ_PAGE_TOKENS / 2) {
    for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += 2) out[token / 2] = static_cast<uint8_t>(counts[token] | counts[token + 1] << 4);
    size_t entries = 0;
    for (const uint8_t count : counts) entries += count;
    indices_ = deltas_ + 2 * entries;
    const size_t used = KVQ_PAGE_TOKENS / 2 + 3 * entries;
    bytes_ = (used + 3) / 4 * 4;
    memset(out + used, 0, bytes_ - used);
  }
  size_t bytes() const { return bytes_; }
  void put(size_t entry, uint16_t delta, uint32_t index) {
    write_half(deltas_ + 2 * entry, delta);
    indices_[entry] = static_cast<uint8_t>(index);
  }

 private:
  uint8_t *deltas_;
  uint8_t *indices_;
  size_t bytes_;
};

// The 15 outliers of a token and head that keep their slots when there are more: the largest |x_n|, ties to the lower index, offered by ascending index.
class slot_ranking {
 public:
  void offer(float magnitude, uint32_t index) {
    if (held_ == KVQ_OUTLIER_SLOTS && !(magnitude > magnitudes_[held_ - 1])) return;
    uint32_t place = held_ < KVQ_OUTLIER_SLOTS ? held_++ : held_ - 1;
    for (; place > 0 && magnitudes_[place - 1] < magnitude; place--) {
      magnitudes_[place] = magnitudes_[place - 1];
      indices_[place] = indices_[place - 1];
    }
    magnitudes_[place] = magnitude;
    indices_[place] = index;
  }
  uint32_t held() const { return held_; }
  uint32_t index(uint32_t place) const { return indices_[place]; }

 private:
  uint32_t held_ = 0;
  float magnitudes_[KVQ_OUTLIER_SLOTS];
  uint32_t indices_[KVQ_OUTLIER_SLOTS];
};

inline float inverse_of(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

}  // namespace
