// Where things lie in the shared memory of the attention kernels; the plan adds them up, the kernels carve them. Bytes.
#pragma once

#include <stdint.h>

namespace kvq_cuda {

constexpr uint32_t page_tokens = 64;
// Small blocks: a multiprocessor fills up at short contexts too.
constexpr uint32_t warps = 4;
constexpr uint32_t threads = 32 * warps;
// Blocks of a multiprocessor that kernels are compiled for, by registers: 168 of each thread, up to 255 at head dim 256 and 5 bits. (With 128, some spill on some architectures.)
constexpr uint32_t resident_blocks(uint32_t head_dim, uint32_t bits) { return head_dim == 256 || bits == 5 ? 2 : 3; }
// Query heads of a block, at most: the columns of a tensor-core product.
constexpr uint32_t queries = 8;
// Entries of a head's outlier section, at most.
constexpr uint32_t most_outliers = 15 * page_tokens;
// A row of 64 numbers of a query and room that keeps rows in different banks.
constexpr uint32_t row_floats = page_tokens + 4;

constexpr uint32_t codes_bytes(uint32_t bits, uint32_t head_dim) { return 8 * head_dim * bits; }

// Levels of two codes (2 to 4 bits) or one (5 bits), each 32 times: a lane reads its own bank.
constexpr uint32_t level_table_entries(uint32_t bits) { return bits == 5 ? 32 : 1u << (2 * bits); }

struct keys_shared {
  uint32_t levels;  // [entries][32 lanes] two fp16
  uint32_t angles;  // offset angles, head_dim / 2 * 64 pairs of fp16
  uint32_t queries; // [group][head_dim / 2][2] fp32, rotated to their position
  uint32_t warp;    // first warp's part
  // within a warp's part
  uint32_t turned;  // [head_dim / 4][group] two pairs of the query as the products want it
  uint32_t zeros;   // [head_dim / 4][group] the zero points of two pairs, in two fp16 terms
  uint32_t scores;  // [group][row_floats]; layers with outliers
  uint32_t tokens;  // [most_outliers] u8
  uint32_t warp_bytes;
  uint32_t bytes;
};

constexpr keys_shared keys_shared_of(uint32_t bits, uint32_t head_dim, bool page_scales, uint32_t group) {
  keys_shared s = {};
  s.levels = 0;
  s.angles = level_table_entries(bits) * 128;
  s.queries = s.angles + head_dim * 128;
  s.warp = s.queries + group * head_dim * 4;
  s.turned = 0;
  s.zeros = group * head_dim * 4;
  s.scores = s.zeros + group * head_dim * 4;
  s.tokens = s.scores + (page_scales ? 0 : group * row_floats * 4);
  s.warp_bytes = s.tokens + (page_scales ? 0 : most_outliers);
  s.bytes = s.warp + warps * s.warp_bytes;
  return s;
}

// A partial result: [group][head_dim] sums, [group][2] maximum and total, up to a multiple of 16 bytes.
constexpr uint32_t partial_floats(uint32_t head_dim, uint32_t group) { return group * head_dim + (2 * group + 3) / 4 * 4; }
// Partial results of a head, at most: their weights lie where a block's sums did.
constexpr uint32_t most_slots(uint32_t head_dim) { return warps * head_dim; }
// Windows of pages of a call, at most. Each has a slot at least; exact chunks have the others.
constexpr uint32_t most_windows = 32;
constexpr uint32_t most_exact_slots(uint32_t head_dim) { return most_slots(head_dim) - most_windows; }
// Two sums of every number, or of fewer in several parts.
constexpr uint32_t merge_floats(uint32_t head_dim, uint32_t group, uint32_t block_threads) { return 2 * (group * head_dim > 4 * block_threads ? group * head_dim : 4 * block_threads); }

struct values_shared {
  uint32_t sums;    // [warp][group][head_dim] fp32
  uint32_t totals;  // [warp][group][2] fp32: maximum, total
  uint32_t weights; // [warp][group][row_floats] fp32; token values
  uint32_t tokens;  // [warp][most_outliers] u8
  uint32_t queries; // [group][head_dim] fp32
  uint32_t merge;   // merge_floats fp32
  uint32_t bytes;
};

constexpr values_shared values_shared_of(uint32_t head_dim, bool rotated, uint32_t group) {
  values_shared s = {};
  s.sums = 0;
  s.totals = warps * group * head_dim * 4;
  s.weights = s.totals + warps * group * 8;
  s.tokens = s.weights + (rotated ? 0 : warps) * group * row_floats * 4;
  s.queries = s.tokens + (rotated ? 0 : warps * most_outliers);
  s.merge = s.queries + group * head_dim * 4;
  s.bytes = s.merge + merge_floats(head_dim, group, threads) * 4;
  return s;
}

// fp16 kernel: tiles of 32 keys and 32 values a warp; sums and totals lie over them in the end. Warps of a block, at most; fewer where the device has less shared memory (plan.h).
constexpr uint32_t half_warps(uint32_t head_dim) { return head_dim == 256 ? 4 : 8; }
constexpr uint32_t half_tile_tokens = 32;
constexpr uint32_t half_tiles_bytes(uint32_t head_dim, uint32_t block_warps) { return block_warps * 2 * half_tile_tokens * head_dim * 2; }
constexpr bool half_merge_fits(uint32_t head_dim, uint32_t block_warps) {
  return half_tiles_bytes(head_dim, block_warps) >= (most_slots(head_dim) * queries + merge_floats(head_dim, queries, 32 * block_warps)) * 4;
}
static_assert(half_merge_fits(64, 8) && half_merge_fits(64, 4) && half_merge_fits(128, 8) && half_merge_fits(128, 4) && half_merge_fits(256, 4) && half_merge_fits(256, 2), "the merge fits in the tiles");
constexpr uint32_t half_queries_offset(uint32_t head_dim, uint32_t block_warps) {
  const uint32_t tiles = half_tiles_bytes(head_dim, block_warps), sums = block_warps * queries * (head_dim + 2) * 4;
  return tiles > sums ? tiles : sums;
}
constexpr uint32_t half_shared_bytes(uint32_t head_dim, uint32_t block_warps) { return half_queries_offset(head_dim, block_warps) + queries * head_dim * 4; }

}  // namespace kvq_cuda
