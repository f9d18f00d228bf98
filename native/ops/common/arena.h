// Consecutive aligned arrays in one allocation: a first pass without memory counts the bytes, a second one hands them out.
// Private copies in every file that includes it (see common/float-vector.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace {

constexpr size_t arena_alignment = 64;

struct arena {
  uint8_t *base;
  size_t used = 0;

  template <typename Item>
  Item *take(size_t count) {
    Item *start = base == nullptr ? nullptr : reinterpret_cast<Item *>(base + used);
    used += (count * sizeof(Item) + arena_alignment - 1) / arena_alignment * arena_alignment;
    return start;
  }
};

}  // namespace
