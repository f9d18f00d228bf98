// Grids, windows and scratch of decode attention. Included by attend.h.
#pragma once

#include <algorithm>

#include "cuda/attend/shape.h"

inline uint32_t kvq_cuda_most_exact_slots(uint32_t head_dim) { return kvq_cuda::most_exact_slots(head_dim); }

inline uint32_t kvq_cuda_keys_shared_bytes(const kvq_cuda_recipe &recipe, uint32_t group) { return kvq_cuda::keys_shared_of(recipe.key_bits, recipe.head_dim, recipe.page_scales != 0, group).bytes; }
inline uint32_t kvq_cuda_values_shared_bytes(const kvq_cuda_recipe &recipe, uint32_t group) { return kvq_cuda::values_shared_of(recipe.head_dim, recipe.rotated != 0, group).bytes; }

namespace kvq_cuda {

constexpr uint32_t ceiling(uint64_t a, uint64_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

// Parts of a sequence, so that `rows` sequences and heads fill `slots` blocks of `warps` warps, one item a warp at a time.
inline uint32_t splits_of(uint64_t items, uint64_t rows, uint64_t slots, uint32_t warps_of_block) {
  const uint32_t useful = ceiling(items, warps_of_block);
  return std::max(1u, std::min(useful, static_cast<uint32_t>(std::max<uint64_t>(1, slots / rows))));
}

// Blocks that fit a multiprocessor by shared memory (1 KB of each is the system's), at most `most`.
inline uint32_t blocks_of(const kvq_cuda_device &device, uint32_t shared, uint32_t most) { return std::clamp(device.shared_bytes / (shared + 1024), 1u, most); }

// Static shared memory of the kernels, which counts too, and some to spare.
constexpr uint32_t static_shared = 256;
inline bool fits(const kvq_cuda_device &device, uint32_t shared) { return shared + static_shared <= device.block_shared_bytes; }

// Query heads of a block. Devices differ in shared memory: a block has 227 KB on sm_90 and 99 KB on sm_86, sm_89 and sm_120, where wide heads leave room for fewer than 8.
inline uint32_t queries_of_block(const kvq_cuda_device &device, const kvq_cuda_recipe &recipe, uint32_t group) {
  uint32_t count = std::min(group, kvq_cuda_queries);
  while (count > 1 && !(fits(device, kvq_cuda_keys_shared_bytes(recipe, count)) && fits(device, kvq_cuda_values_shared_bytes(recipe, count)))) count--;
  return count;
}
// Warps of a block of the fp16 kernel: half of the most where the device has no shared memory for their tiles.
inline uint32_t warps_of_half(const kvq_cuda_device &device, uint32_t head_dim) {
  const uint32_t most = half_warps(head_dim);
  return fits(device, half_shared_bytes(head_dim, most)) ? most : most / 2;
}

// Blocks of a sequence and KV head, which share its query heads.
inline uint32_t parts_of_group(const kvq_cuda_attention &attention) { return ceiling(attention.group, attention.block_queries); }

// attention.block_queries is set.
inline kvq_cuda_launch launch_of(uint32_t x, const kvq_cuda_attention &attention, uint32_t block_warps, uint32_t shared) {
  kvq_cuda_launch launch = {};
  launch.grid[0] = x;
  launch.grid[1] = attention.sequences * attention.kv_heads;
  launch.grid[2] = parts_of_group(attention);
  launch.threads = 32 * block_warps;
  launch.shared_bytes = shared;
  return launch;
}

inline void size_partials(kvq_cuda_attention_plan &plan, const kvq_cuda_attention &attention) {
  const size_t rows = size_t{attention.sequences} * attention.kv_heads * parts_of_group(attention);
  plan.scratch.partial_bytes = rows * plan.slots * partial_floats(attention.head_dim, attention.block_queries) * sizeof(float);
  plan.scratch.arrival_bytes = rows * sizeof(uint32_t);
}

}  // namespace kvq_cuda

inline kvq_cuda_attention_plan kvq_cuda_plan_attention(const kvq_cuda_device &device, const kvq_cuda_recipe &recipe, const kvq_cuda_attention &asked) {
  using namespace kvq_cuda;
  kvq_cuda_attention_plan plan = {};
  kvq_cuda_attention attention = asked;
  attention.block_queries = queries_of_block(device, recipe, attention.group);
  const uint64_t rows = uint64_t{attention.sequences} * attention.kv_heads * parts_of_group(attention);
  const uint64_t page_scores = uint64_t{attention.sequences} * attention.kv_heads * attention.group * page_tokens * sizeof(float);
  // Scores of a window take at most a third of the second-level cache: pages stream through the rest.
  const uint32_t window = static_cast<uint32_t>(std::max<uint64_t>(std::max(64u, ceiling(attention.most_pages, most_windows)), device.cache_bytes / 3 / page_scores));
  const uint32_t windows = std::max(1u, ceiling(attention.most_pages, window));
  plan.score_pages = ceiling(attention.most_pages, windows);
  plan.scratch.score_bytes = plan.score_pages * page_scores;
  const uint32_t keys_shared = kvq_cuda_keys_shared_bytes(recipe, attention.block_queries), values_shared = kvq_cuda_values_shared_bytes(recipe, attention.block_queries);
  const uint32_t key_blocks = resident_blocks(recipe.head_dim, recipe.key_bits), value_blocks = resident_blocks(recipe.head_dim, recipe.value_bits);
  const uint32_t key_splits = splits_of(plan.score_pages, rows, uint64_t{device.multiprocessors} * blocks_of(device, keys_shared, key_blocks), warps);
  // Blocks of exact tokens are short and come first: what waits for them starts a moment later.
  uint32_t value_splits = plan.score_pages == 0 ? 0 : splits_of(plan.score_pages, rows, uint64_t{device.multiprocessors} * blocks_of(device, values_shared, value_blocks), warps);
  value_splits = std::min(value_splits, (most_slots(attention.head_dim) - attention.exact_slots) / windows);
  plan.slots = attention.exact_slots + windows * value_splits;
  size_partials(plan, attention);
  for (uint32_t index = 0; index < windows; index++) {
    kvq_cuda_attention p = attention;
    p.window_first = index * plan.score_pages;
    p.window_pages = p.score_pages = plan.score_pages;
    p.exact_blocks = index == 0 ? attention.exact_slots : 0;
    p.page_splits = value_splits;
    p.first_slot = attention.exact_slots + index * value_splits;
    p.slots = plan.slots;
    if (plan.score_pages > 0) {
      kvq_cuda_launch keys = launch_of(key_splits, attention, warps, keys_shared);
      kvq_cuda_name_keys(recipe, keys.kernel);
      kvq_cuda_set_parameters(keys, p);
      plan.launches.push_back(keys);
    }
    kvq_cuda_launch values = launch_of(p.exact_blocks + value_splits, attention, warps, values_shared);
    kvq_cuda_name_values(recipe, values.kernel);
    kvq_cuda_set_parameters(values, p);
    values.programmatic = plan.score_pages > 0;
    plan.launches.push_back(values);
  }
  return plan;
}

inline kvq_cuda_attention_plan kvq_cuda_plan_half(const kvq_cuda_device &device, uint32_t head_dim, const kvq_cuda_attention &asked) {
  using namespace kvq_cuda;
  kvq_cuda_attention_plan plan = {};
  kvq_cuda_attention attention = asked;
  attention.block_queries = std::min(attention.group, kvq_cuda_queries);
  const uint64_t rows = uint64_t{attention.sequences} * attention.kv_heads * parts_of_group(attention);
  const uint32_t block_warps = warps_of_half(device, head_dim), shared = half_shared_bytes(head_dim, block_warps);
  plan.slots = std::min(most_slots(head_dim), splits_of(2 * uint64_t{attention.exact_slots}, rows, uint64_t{device.multiprocessors} * blocks_of(device, shared, 2), block_warps));
  size_partials(plan, attention);
  kvq_cuda_attention p = attention;
  p.page_splits = p.slots = plan.slots;
  kvq_cuda_launch launch = launch_of(plan.slots, attention, block_warps, shared);
  kvq_cuda_name_half(head_dim, launch.kernel);
  kvq_cuda_set_parameters(launch, p);
  plan.launches.push_back(launch);
  return plan;
}
