// Work space of encoding and decoding a page, in one piece of memory that the caller owns.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/page.h"

namespace {

// Hands out parts of the scratch, each at a multiple of 64 bytes; with a null base it only measures.
class scratch_parts {
 public:
  explicit scratch_parts(uint8_t *base) : base_(base) {}
  template <class Number>
  Number *take(size_t count) {
    Number *part = base_ == nullptr ? nullptr : reinterpret_cast<Number *>(base_ + used_);
    used_ += (count * sizeof(Number) + 63) / 64 * 64;
    return part;
  }
  size_t used() const { return used_; }

 private:
  uint8_t *base_;
  size_t used_ = 0;
};

struct codec_scratch {
  float *tiles;        // [kv_heads][head_dim][64]: values of all heads; keys use the first head's
  float *errors;       // [head_dim][64]: rounding errors of keys
  float *deviations;   // [columns]: outliers of a token of values, largest first
  uint32_t *places;    // [columns]: their columns
  uint16_t *chosen;    // [64][columns / 16]: a bit for each outlier of values
  uint64_t *marks;     // [head_dim]: a bit for each outlier of keys
  uint16_t *deltas;    // [head_dim][64]: halves of the outliers of keys
  uint8_t *codes;      // [head_dim][64], a row a channel
  uint8_t *vectors;    // [head_dim][64], a row a vector of a value page
  size_t bytes;

  codec_scratch(uint8_t *base, uint32_t kv_heads, uint32_t head_dim) {
    const size_t columns = static_cast<size_t>(kv_heads) * head_dim;
    const size_t head = static_cast<size_t>(head_dim) * KVQ_PAGE_TOKENS;
    scratch_parts parts(base);
    tiles = parts.take<float>(columns * KVQ_PAGE_TOKENS);
    errors = parts.take<float>(head);
    deviations = parts.take<float>(columns);
    places = parts.take<uint32_t>(columns);
    chosen = parts.take<uint16_t>(columns / 16 * KVQ_PAGE_TOKENS);
    marks = parts.take<uint64_t>(head_dim);
    deltas = parts.take<uint16_t>(head);
    codes = parts.take<uint8_t>(head);
    vectors = parts.take<uint8_t>(head);
    bytes = parts.used();
  }
};

}  // namespace
