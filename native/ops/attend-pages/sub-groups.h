// Groups of queries that have no kernel of their own are answered in parts.
#pragma once

#include <cstdint>

namespace {

// Size of the next part of `left` queries: 1, 2, 3, 4, 6 or 8; 5 = 4 + 1, 7 = 4 + 3, 12 = 6 + 6.
inline uint32_t next_part(uint32_t left) {
  if (left == 12) return 6;
  if (left >= 8) return 8;
  return left == 7 || left == 5 ? 4 : left;
}

}  // namespace
