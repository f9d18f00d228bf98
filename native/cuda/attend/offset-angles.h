// Order of the table of angles within a page: as the key kernels' lanes read it, 16 bytes at a time: what one product takes, two pairs of two page lanes.
#pragma once

#include <stdint.h>

namespace kvq_cuda {

// Place of a pair's angle for page lane `lane` (lanes 0 .. 31 are tokens 31 .. 0). Lane (g, tig) of a warp owns code groups tig, tig + 4, .. (8 pairs each) and page lanes 8 g .. 8 g + 7.
constexpr uint32_t offset_angle_index(uint32_t pair, uint32_t lane) {
  const uint32_t slice = pair / 32, tig = pair / 8 % 4, two_pairs = pair % 8 / 2, g = lane / 8, tokens = lane % 8 / 2;
  return (((slice * 4 + two_pairs) * 4 + tokens) * 32 + g * 4 + tig) * 4 + pair % 2 * 2 + lane % 2;
}

}  // namespace kvq_cuda
