// Decode attention kernels under emulation against float64. Arguments: SEED of the thread order, then "quick", "small" (few threads, for the thread sanitizer) or "full".
#include <cstdio>

#include "launch.h"

namespace {

using kvq_test::attention_problem;
using kvq_test::problem_shape;

int failures = 0;

void report(bool passed, const char *sentence, double error) {
  if (passed) std::printf("ok %s (error %.1e)\n", sentence, error);
  else std::printf("not ok %s: error %.3e\n", sentence, error), failures++;
  std::fflush(stdout);
}

// Relative error of a head's answer: weights are 16-bit, keys meet the query in fp16 products.
// Scores grow with the zero points, and so does what fp16 products lose of them.
double bound_of(const problem_shape &shape) { return shape.zero_scale > 10 ? 5e-3 : 2e-3; }

void check(const problem_shape &shape, uint64_t seed, const char *what, uint64_t cache_bytes = 1 << 20, bool half = false, bool little_shared = false) {
  emulation::host_memory memory;
  attention_problem problem(shape, memory);
  const kvq_cuda_device device = emulation::small_device(3, cache_bytes, little_shared);
  const kvq_cuda_attention_plan plan = problem.plan(device, half);
  double error = 0;
  for (const kvq_cuda_launch &launch : plan.launches) {
    // 128 static bytes, as ptxas counts them, come on top.
    if (launch.shared_bytes + 128 > device.block_shared_bytes) error = INFINITY;
    else emulation::run(launch, seed);
  }
  if (error == 0) error = problem.error();
  char sentence[200];
  std::snprintf(sentence, sizeof(sentence), "%s, %s%u keys, %s%u values, head dim %u, group %u", what, shape.recipe.page_scales ? "page" : "channel", shape.recipe.key_bits,
                shape.recipe.rotated ? "rotated" : "token", shape.recipe.value_bits, shape.recipe.head_dim, shape.group);
  report(error <= bound_of(shape), sentence, error);
}

problem_shape shape_of(uint32_t head_dim, uint32_t bits, bool paper, uint32_t group) {
  problem_shape s = {};
  s.recipe = {head_dim, bits, !paper, bits, !paper};
  s.kv_heads = 2, s.group = group;
  s.key_outliers = s.value_outliers = paper;
  s.rotary_dim = head_dim;
  s.seed = head_dim * 31 + bits * 7 + group + paper;
  s.sequences = {{11, 40, 1, 70}, {2, 64, 3, 5}};
  return s;
}

}  // namespace

int main(int count, char **arguments) {
  const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 0) : 0;
  const std::string mode = count > 2 ? arguments[2] : "quick";
  if (mode == "small") {
    for (bool paper : {false, true}) {
      problem_shape s = shape_of(64, 2, paper, 3);
      s.kv_heads = 1;
      s.sequences = {{2, 40, 1, 3}};
      check(s, seed, "two pages and a tail");
    }
    return failures > 0;
  }
  struct instance {
    uint32_t bits, head_dim;
  };
  const std::vector<instance> subset = {{2, 64}, {3, 128}, {4, 128}, {5, 64}, {4, 256}};
  std::vector<instance> all;
  for (uint32_t head_dim : {64, 128, 256}) for (uint32_t bits : {2, 3, 4, 5}) all.push_back({bits, head_dim});
  for (const instance &i : mode == "full" ? all : subset)
    for (bool paper : {false, true})
      for (uint32_t group : mode == "full" ? std::vector<uint32_t>{1, 3, 4, 6, 8} : std::vector<uint32_t>{1u + (i.bits + i.head_dim / 64) % 4}) check(shape_of(i.head_dim, i.bits, paper, group), seed, "sinks, pages, a partial page and a tail");
  for (uint32_t head_dim : {64, 128, 256}) {
    problem_shape s = shape_of(head_dim, head_dim == 64 ? 2 : 4, false, 4);
    s.sequences = {{0, 64, 0, 150}, {0, 64, 0, 17}};
    check(s, seed, "fp16 tokens alone", 1 << 20, true);
    check(s, seed, "fp16 tokens alone, where a block has 99 KB of shared memory", 1 << 20, true, true);
  }
  for (bool paper : {false, true}) {
    problem_shape s = shape_of(256, 4, paper, 8);
    s.kv_heads = 1;
    s.sequences = {{5, 40, 1, 20}};
    check(s, seed, "fewer query heads a block where it has 99 KB of shared memory", 1 << 20, false, true);
  }
  {
    problem_shape s = shape_of(128, 4, true, 1);
    s.sequences = {{70, 64, 1, 64}};
    s.kv_heads = 1;
    check(s, seed, "several windows of pages", 1);
    s = shape_of(64, 2, false, 1);
    s.kv_heads = 1;
    s.sequences = {{70, 64, 1, 64 * (kvq_cuda_most_exact_slots(64) - 1)}};
    check(s, seed, "as many exact chunks as there is room for, and several windows of pages", 1);
    s = shape_of(64, 2, false, 11);
    check(s, seed, "more query heads than a block answers");
    s = shape_of(128, 3, false, 2);
    s.rotary_dim = 32, s.attention_factor = 1.2f;
    check(s, seed, "partial rotary and an attention factor");
    s = shape_of(128, 4, false, 2);
    s.zero_scale = 80;
    s.sequences = {{4, 64, 1, 64}};
    for (auto &sequence : s.sequences) sequence.sinks = 0;
    check(s, seed, "zero points eighty times the range");
    s = shape_of(64, 2, true, 2);
    s.sequences = {{3, 1, 0, 1}, {0, 64, 1, 1}};
    check(s, seed, "a page of one token and a sequence without pages");
    s = shape_of(128, 4, false, 2);
    s.recipe.rotated = 0, s.value_outliers = true;
    check(s, seed, "page keys with token values and outliers");
    s = shape_of(128, 4, true, 2);
    s.recipe.rotated = 1, s.recipe.value_bits = 3;
    check(s, seed, "channel keys with outliers and rotated values of other bits");
  }
  return failures > 0;
}
