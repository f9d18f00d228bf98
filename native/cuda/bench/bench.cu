// Checks and timings on a machine with a GPU. One program, compiled by tools/build-cuda.mjs:
//   bench check            every instance against float64; exit code 1 on a miss
//   bench attend [SHAPE]   decode attention against fp16 flash-decode, cold second-level cache (docs/cuda.md)
//   bench matvec           the paper's comparison: dense and sparse key and value products against cuBLAS fp16 matrix-vector products, LLaMA-7B shape
//   bench one FAMILY BITS TOKENS GROUP HEADS   one call, for a profiler
// Times are medians of graph replays over copies of the problem that together take more than 400 MB, so that nothing comes from the cache.
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>

#include "cuda/attend/instances.h"
#include "cuda/bench/timer.h"
#include "cuda/encode/encode.h"
#include "cuda/test/problem.h"

#define KVQ_INSTANCE(bits, head_dim) \
  extern "C" void kvq_keys_page_##bits##_##head_dim(kvq_cuda_attention); \
  extern "C" void kvq_keys_channel_##bits##_##head_dim(kvq_cuda_attention); \
  extern "C" void kvq_values_rotated_##bits##_##head_dim(kvq_cuda_attention); \
  extern "C" void kvq_values_token_##bits##_##head_dim(kvq_cuda_attention);
KVQ_EACH_INSTANCE
#undef KVQ_INSTANCE
extern "C" void kvq_cuda_encode_keys(kvq_cuda_encode);
extern "C" void kvq_cuda_encode_rotate(kvq_cuda_encode);
extern "C" void kvq_cuda_encode_tokens(kvq_cuda_encode);
extern "C" void kvq_cuda_encode_values(kvq_cuda_encode);
extern "C" void kvq_cuda_encode_sections(kvq_cuda_encode);
extern "C" void kvq_half_64(kvq_cuda_attention);
extern "C" void kvq_half_128(kvq_cuda_attention);
extern "C" void kvq_half_256(kvq_cuda_attention);

namespace {

using namespace kvq_bench;
using kvq_test::attention_problem;
using kvq_test::problem_shape;

const std::map<std::string, const void *> &kernels() {
#define KVQ_INSTANCE(bits, head_dim) \
  {"kvq_keys_page_" #bits "_" #head_dim, reinterpret_cast<const void *>(kvq_keys_page_##bits##_##head_dim)}, \
  {"kvq_keys_channel_" #bits "_" #head_dim, reinterpret_cast<const void *>(kvq_keys_channel_##bits##_##head_dim)}, \
  {"kvq_values_rotated_" #bits "_" #head_dim, reinterpret_cast<const void *>(kvq_values_rotated_##bits##_##head_dim)}, \
  {"kvq_values_token_" #bits "_" #head_dim, reinterpret_cast<const void *>(kvq_values_token_##bits##_##head_dim)},
  static const std::map<std::string, const void *> all = {KVQ_EACH_INSTANCE {"kvq_half_64", reinterpret_cast<const void *>(kvq_half_64)},
                                                          {"kvq_half_128", reinterpret_cast<const void *>(kvq_half_128)},
                                                          {"kvq_half_256", reinterpret_cast<const void *>(kvq_half_256)},
                                                          {"kvq_cuda_encode_keys", reinterpret_cast<const void *>(kvq_cuda_encode_keys)},
                                                          {"kvq_cuda_encode_rotate", reinterpret_cast<const void *>(kvq_cuda_encode_rotate)},
                                                          {"kvq_cuda_encode_tokens", reinterpret_cast<const void *>(kvq_cuda_encode_tokens)},
                                                          {"kvq_cuda_encode_values", reinterpret_cast<const void *>(kvq_cuda_encode_values)},
                                                          {"kvq_cuda_encode_sections", reinterpret_cast<const void *>(kvq_cuda_encode_sections)}};
#undef KVQ_INSTANCE
  return all;
}
bool has(const char *name) { return kernels().count(name) != 0; }
bool has(const kvq_cuda_recipe &recipe) {
  char keys[48], values[48];
  kvq_cuda_name_keys(recipe, keys), kvq_cuda_name_values(recipe, values);
  return has(keys) && has(values);
}

void launch(const kvq_cuda_launch &l, cudaStream_t stream) {
  const void *kernel = kernels().at(l.kernel);
  CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(l.shared_bytes)));
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(l.grid[0], l.grid[1], l.grid[2]);
  config.blockDim = dim3(l.threads);
  config.dynamicSmemBytes = l.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = l.programmatic ? 1 : 0;
  void *arguments[] = {const_cast<uint8_t *>(l.parameters)};
  CHECK(cudaLaunchKernelExC(&config, kernel, arguments));
}

problem_shape shape_of(uint32_t head_dim, uint32_t bits, bool paper, uint32_t heads, uint32_t group) {
  problem_shape s = {};
  s.recipe = {head_dim, bits, !paper, bits, !paper};
  s.kv_heads = heads, s.group = group;
  s.key_outliers = s.value_outliers = paper;
  s.rotary_dim = head_dim;
  return s;
}

// Pages of random rows encoded on the device and by the CPU library: bytes, counts and outlier offsets must agree. Prints the time of a call of `count` pages.
bool check_encode(uint32_t heads, uint32_t head_dim, uint32_t bits, bool paper, bool values, uint32_t count) {
  device_memory memory;
  problem_shape s = shape_of(head_dim, bits, paper, heads, 1);
  s.key_outliers = s.value_outliers = paper;
  kvq_test::random_numbers random(bits + head_dim + paper);
  kvq_test::fitted_layer layer(s, random);
  const uint32_t columns = heads * head_dim;
  std::vector<uint16_t> order(columns);
  std::vector<float> weights(size_t{columns} * (head_dim - 1) / 2);
  for (uint32_t i = 0; i < columns; i++) order[i] = static_cast<uint16_t>((7 * (i % head_dim) + 3 + i / head_dim) % head_dim);
  for (float &w : weights) w = static_cast<float>(random.next() % 33) / 256 - 0.0625f;
  layer.key.feedback_order = order.data(), layer.key.feedback_weights = weights.data();
  kvq_cuda_encode e = values ? kvq_cuda_encode_of(layer.value) : kvq_cuda_encode_of(layer.key);
  const auto place = [&](const float *&from, size_t size) { if (from != nullptr) from = memory.place(std::vector<float>(from, from + size)); };
  for (const float **array : {&e.scale, &e.zero, &e.low, &e.high, &e.mean, &e.deviation}) place(*array, columns);
  place(e.feedback_weights, weights.size());
  if (e.feedback_order != nullptr) e.feedback_order = memory.place(order);
  const kvq_block_layout layout = values ? kvq_value_layout(&layer.value) : kvq_key_layout(&layer.key);
  std::vector<kvq_cuda_encode_page> pages;
  std::vector<std::vector<float>> rows;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t tokens = i + 1 == count ? 41 : 64;
    rows.emplace_back(size_t{tokens} * columns);
    for (size_t n = 0; n < rows.back().size(); n++) {
      const size_t c = n % columns;
      rows.back()[n] = values ? static_cast<float>(random.normal()) : static_cast<float>(layer.zero[c] + layer.scale[c] * (2.2 * random.uniform() - 1.1));
    }
    pages.push_back({memory.place(rows.back()), static_cast<uint8_t *>(memory.allocate(kvq_block_capacity(&layout))), static_cast<uint32_t *>(memory.allocate(4 * heads)), tokens, 0});
  }
  e.pages = memory.place(pages), e.count = count;
  e.encoded = memory.place(std::vector<kvq_cuda_encoded>(count));
  e.scratch = static_cast<uint8_t *>(memory.allocate(kvq_cuda_encode_scratch(e)));
  const auto run = [&](cudaStream_t stream) { for (const kvq_cuda_launch &l : kvq_cuda_plan_encode(e)) launch(l, stream); };
  run(cudaStreamPerThread);
  CHECK(cudaDeviceSynchronize());
  std::vector<kvq_cuda_encoded> about(count);
  memory.read(about.data(), e.encoded, count * sizeof(about[0]));
  std::vector<uint8_t> scratch(kvq_codec_scratch(heads, head_dim) + 64);
  uint8_t *aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  bool right = true;
  for (uint32_t i = 0; i < count; i++) {
    std::vector<uint8_t> block(kvq_block_capacity(&layout)), got(about[i].bytes);
    kvq_encoded encoded;
    values ? kvq_encode_values(kvq_isa_best(), &layer.value, rows[i].data(), pages[i].tokens, block.data(), aligned, &encoded)
           : kvq_encode_keys(kvq_isa_best(), &layer.key, rows[i].data(), pages[i].tokens, block.data(), aligned, &encoded);
    block.resize(encoded.bytes);
    memory.read(got.data(), pages[i].block, got.size());
    right = right && got == block && about[i].saturated == encoded.saturated && about[i].clamped == encoded.clamped;
  }
  const double us = median_us(1, 1 << 26, [&](size_t, cudaStream_t stream) { run(stream); });
  printf("%s encode %s %s, %u bits, %u x %u, %u pages: same bytes as the CPU's; %.1f us, %.1f a page\n", right ? "ok" : "NOT OK", paper ? "paper" : "kvq", values ? "values" : "keys", bits, heads, head_dim, count, us, us / count);
  return right;
}

int check() {
  int failures = 0;
  for (uint32_t bits : {2u, 3u, 4u, 5u}) for (bool paper : {false, true}) for (bool values : {false, true}) failures += !check_encode(3, 64, bits, paper, values, 5);
  for (bool paper : {false, true}) for (bool values : {false, true}) for (uint32_t count : {1u, 64u}) failures += !check_encode(32, 128, 4, paper, values, count) + !check_encode(8, 128, 3, paper, values, count);
  const kvq_cuda_device device = this_device();
  const auto one = [&](const problem_shape &s, bool half) {
    device_memory memory;
    attention_problem problem(s, memory);
    double worst = 0;
    for (uint32_t multiprocessors : {device.multiprocessors, 2u}) {
      kvq_cuda_device d = device;
      d.multiprocessors = multiprocessors;
      const kvq_cuda_attention_plan plan = problem.plan(d, half);
      for (int turn = 0; turn < 2; turn++) {
        for (const kvq_cuda_launch &l : plan.launches) launch(l, cudaStreamPerThread);
        CHECK(cudaDeviceSynchronize());
        const double error = problem.error();
        if (!(error <= worst)) worst = error;
      }
    }
    const bool passed = worst <= 2.5e-3;
    failures += !passed;
    printf("%s %s%u keys, %s%u values, head dim %u, group %u: error %.1e\n", passed ? "ok" : "NOT OK", half ? "fp16 " : s.recipe.page_scales ? "page" : "channel", s.recipe.key_bits,
           s.recipe.rotated ? "rotated" : "token", s.recipe.value_bits, s.recipe.head_dim, s.group, worst);
  };
  for (uint32_t head_dim : {64u, 128u, 256u}) {
    for (uint32_t bits = 2; bits <= 5; bits++) {
      for (bool paper : {false, true}) {
        for (uint32_t group : {1u, 3u, 4u, 6u, 8u}) {
          problem_shape s = shape_of(head_dim, bits, paper, 2, group);
          s.sequences = {{21, 40, 1, 70}, {5, 64, 3, 5}, {0, 64, 1, 9}};
          s.seed = head_dim + bits * 5 + group;
          if (has(s.recipe)) one(s, false);
        }
      }
    }
    for (uint32_t group : {1u, 4u, 8u}) {
      problem_shape s = shape_of(head_dim, 4, false, 2, group);
      s.sequences = {{0, 64, 0, 1500}, {0, 64, 0, 17}};
      one(s, true);
    }
  }
  printf("%d failed\n", failures);
  return failures > 0;
}

struct table_shape {
  const char *name;
  uint32_t batch, heads, group, head_dim, tokens;
};

// Copies of a problem in memory, and the launches of each.
struct copies {
  std::unique_ptr<device_memory> memory = std::make_unique<device_memory>();
  std::vector<std::unique_ptr<attention_problem>> problems;
  std::vector<std::vector<kvq_cuda_launch>> launches;
  size_t bytes;

  copies(const problem_shape &shape, bool half) {
    size_t total = 0;
    do {
      problems.push_back(std::make_unique<attention_problem>(shape, *memory, false, problems.empty() ? nullptr : problems[0].get()));
      launches.push_back(problems.back()->plan(this_device(), half).launches);
      total += bytes = problems.back()->bytes();
    } while (total < (400u << 20));
  }
  double time(const std::function<bool(const kvq_cuda_launch &)> &which = [](const kvq_cuda_launch &) { return true; }) const {
    return median_us(launches.size(), bytes, [&](size_t copy, cudaStream_t stream) {
      // Programmatic launches belong to the one before them: where that is left out, they would follow one that they do not wait for.
      bool follows = false;
      for (kvq_cuda_launch l : launches[copy]) {
        l.programmatic = l.programmatic && follows;
        follows = which(l);
        if (follows) launch(l, stream);
      }
    });
  }
};

problem_shape timed(const table_shape &t, uint32_t bits, bool paper, bool half) {
  problem_shape s = shape_of(t.head_dim, bits, paper, t.heads, t.group);
  s.distinct_pages = 8;
  // One sink, 64 to 127 exact tokens, a partial page.
  const uint32_t pages = (t.tokens - 1 - 88 - 40) / 64 + 1;
  for (uint32_t b = 0; b < t.batch; b++) s.sequences.push_back(half ? kvq_test::sequence_shape{0, 64, 0, t.tokens} : kvq_test::sequence_shape{pages, 40, 1, t.tokens - 1 - 40 - 64 * (pages - 1)});
  return s;
}

bool is_keys(const kvq_cuda_launch &l) { return std::string(l.kernel).starts_with("kvq_keys"); }

void attend(const std::string &only) {
  static const table_shape all[] = {
      {"llama7b", 1, 32, 1, 128, 2048},  {"llama7b", 1, 32, 1, 128, 4096},    {"llama7b", 1, 32, 1, 128, 16384}, {"llama7b", 1, 32, 1, 128, 131072}, {"llama3", 1, 8, 4, 128, 8192},
      {"llama3", 1, 8, 4, 128, 32768},   {"llama3", 1, 8, 4, 128, 131072},    {"llama3", 8, 8, 4, 128, 8192},    {"llama3", 8, 8, 4, 128, 32768},    {"llama3", 8, 8, 4, 128, 131072},
      {"smollm2", 16, 3, 3, 64, 8192},   {"qwen2.5", 4, 2, 6, 128, 32768},
  };
  printf("times in us; ratio to fp16 (keys + values part); paper: offline scales, 1%% outliers on both sides; one sink, about 100 exact tokens and a partial page in\n");
  for (const table_shape &t : all) {
    if (!only.empty() && only != t.name) continue;
    double fp16 = 0;
    size_t bytes = 0;
    {
      const copies half(timed(t, 4, false, true), true);
      fp16 = half.time(), bytes = half.bytes;
    }
    printf("%-8s batch %-2u heads %-2u G %u D %-3u T %-6u fp16 %7.1f (%4.0f GB/s)", t.name, t.batch, t.heads, t.group, t.head_dim, t.tokens, fp16, bytes / fp16 * 1e-3);
    for (bool paper : {false, true}) {
      printf(" | %s", paper ? "paper" : "kvq");
      for (uint32_t bits : {4u, 3u, 2u}) {
        const copies c(timed(t, bits, paper, false), false);
        const double us = c.time(), keys = c.time(is_keys), values = c.time([](const kvq_cuda_launch &l) { return !is_keys(l); });
        printf("  %7.1f %4.2fx (%.1f + %.1f)", us, fp16 / us, keys, values);
        fflush(stdout);
      }
    }
    printf("\n");
    fflush(stdout);
  }
}

void matvec() {
  const cublas library;
  if (!library.present()) printf("no cuBLAS, so times without ratios; KVQUANT_CUBLAS names the library where it is not found\n");
  // Times of ours over those of cuBLAS; nothing where there are none.
  const auto print_ratio = [&](double baseline, double us) {
    if (library.present()) printf(": %.2fx", baseline / us);
  };
  for (uint32_t tokens : {2048u, 4096u, 16384u, 131072u}) {
    const table_shape t = {"llama7b", 1, 32, 1, 128, tokens};
    const auto [gemv_keys, gemv_values] = library.present() ? library.matvecs(t.heads, t.head_dim, tokens) : std::pair<double, double>{0, 0};
    printf("LLaMA-7B, %6u tokens:", tokens);
    if (library.present()) printf(" cuBLAS fp16 keys %.1f values %.1f us |", gemv_keys, gemv_values);
    for (bool sparse : {true, false}) {
      for (uint32_t bits : {4u, 3u, 2u}) {
        problem_shape s = shape_of(t.head_dim, bits, true, t.heads, t.group);
        s.key_outliers = s.value_outliers = sparse;
        s.distinct_pages = 8;
        s.sequences = {{tokens / 64, 64, 0, 1}};
        const copies c(s, false);
        const double keys = c.time(is_keys), values = c.time([](const kvq_cuda_launch &l) { return !is_keys(l); }), both = c.time();
        printf(" nuq%u%s %.1f + %.1f", bits, sparse ? "-1%" : "", keys, values);
        print_ratio(gemv_keys + gemv_values, keys + values);
        printf(", in one stream %.1f", both);
        print_ratio(gemv_keys + gemv_values, both);
        printf(" |");
      }
    }
    printf("\n");
    fflush(stdout);
  }
}

void once(char **arguments) {
  const bool half = std::string(arguments[0]) == "fp16", paper = std::string(arguments[0]) == "paper";
  const table_shape t = {"", 1, static_cast<uint32_t>(atoi(arguments[4])), static_cast<uint32_t>(atoi(arguments[3])), 128, static_cast<uint32_t>(atoi(arguments[2]))};
  device_memory memory;
  attention_problem problem(timed(t, half ? 4 : static_cast<uint32_t>(atoi(arguments[1])), paper, half), memory, false);
  for (int turn = 0; turn < 2; turn++) for (const kvq_cuda_launch &l : problem.plan(this_device(), half).launches) launch(l, cudaStreamPerThread);
  CHECK(cudaDeviceSynchronize());
}

}  // namespace

int main(int count, char **arguments) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    printf("no GPU: %s\n", cudaGetErrorString(status));
    return 2;
  }
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  const std::string mode = count > 1 ? arguments[1] : "check";
  printf("%s, %d multiprocessors, %d MB second-level cache\n", properties.name, properties.multiProcessorCount, properties.l2CacheSize >> 20);
  if (mode == "attend") attend(count > 2 ? arguments[2] : "");
  else if (mode == "matvec") matvec();
  else if (mode == "one" && count == 7) once(arguments + 2);
  else return check();
  return 0;
}
