// Groups of more queries than the largest kernel takes are answered in parts.
#pragma once

#include <cstdint>

namespace {

// Size of the next part of `left` queries: parts of at most `most`, as equal as possible (12 = 6 + 6, 9 = 5 + 4).
inline uint32_t next_part(uint32_t left, uint32_t most) {
  const uint32_t parts = (left + most - 1) / most;
  return (left + parts - 1) / parts;
}

}  // namespace
