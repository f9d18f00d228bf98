// Sums over the pages of a layer, kept as pages come and go: a cache of any length is asked for its bytes after every step.
#pragma once
#include "runtime/cached-page.h"

namespace kvquant {

struct PageTotals {
  uint64_t key_bytes = 0, value_bytes = 0;
  // Headers, offsets of outlier sections, alignment, and the entries in the layer's list.
  uint64_t header_bytes = 0;
  // Valid tokens.
  uint64_t tokens = 0;
  uint64_t saturated = 0, clamped = 0;

  static PageTotals of(const PageReference &reference) {
    const CachedPage &page = *reference.page;
    const uint8_t *end = page.value + (page.value_bytes + KVQ_BLOCK_ALIGNMENT - 1) / KVQ_BLOCK_ALIGNMENT * KVQ_BLOCK_ALIGNMENT;
    const size_t headers = static_cast<size_t>(end - reinterpret_cast<const uint8_t *>(&page)) - page.key_bytes - page.value_bytes + sizeof(PageReference);
    return {page.key_bytes, page.value_bytes, headers, reference.tokens, uint64_t{page.saturated[0]} + page.saturated[1], uint64_t{page.clamped[0]} + page.clamped[1]};
  }
  PageTotals &operator+=(const PageTotals &other) {
    key_bytes += other.key_bytes;
    value_bytes += other.value_bytes;
    header_bytes += other.header_bytes;
    tokens += other.tokens;
    saturated += other.saturated;
    clamped += other.clamped;
    return *this;
  }
  PageTotals &operator-=(const PageTotals &other) {
    key_bytes -= other.key_bytes;
    value_bytes -= other.value_bytes;
    header_bytes -= other.header_bytes;
    tokens -= other.tokens;
    saturated -= other.saturated;
    clamped -= other.clamped;
    return *this;
  }
};

}  // namespace kvquant
