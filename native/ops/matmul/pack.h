// Moving rows between the file's blocks and the planes of a packed matrix (layout.h).
#pragma once

#include "layout.h"

namespace kvq::matmul {

// One row of a tile: the starts of the tile in the planes, and the row's lane.
struct row_view {
  uint8_t *codes, *high, *scales;
  size_t lane;
};

// Copies blocks first .. first+count-1 of the row from `bytes`, which starts at block `first`.
using block_packer = void (*)(const row_view &row, size_t first, size_t count, const uint8_t *bytes);
// The inverse.
using block_unpacker = void (*)(const row_view &row, size_t first, size_t count, uint8_t *bytes);

block_packer find_packer(uint32_t type);
block_unpacker find_unpacker(uint32_t type);

}  // namespace kvq::matmul
