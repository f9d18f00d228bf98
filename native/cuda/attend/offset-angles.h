// Order of the table of angles within a page: as the key kernels' lanes read it, 16 bytes (four page lanes) at a time.
#pragma once

#include <stdint.h>

namespace kvq_cuda {

// Place of a pair's angle for page lane `lane` (lanes 0 .. 31 are tokens 31 .. 0). Lane (g, tig) of a warp owns code groups tig, tig + 4, .. (8 pairs each) and page lanes 8 g .. 8 g + 7.
constexpr uint32_t offset_angle_index(uint32_t pair, uint32_t lane) {
  const uint32_t own = pair / 32 * 8 + pair % 8, tig = pair / 8 % 4, g = lane / 8, half = lane / 4 % 2;
  return ((own * 2 + half) * 32 + g * 4 + tig) * 4 + lane % 4;
}

}  // namespace kvq_cuda
