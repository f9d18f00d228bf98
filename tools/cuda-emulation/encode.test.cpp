// Encoding kernels under emulation: the golden pages of the format, and pages from exact storage against the CPU library; appending to exact storage.
// Arguments: SEED of the thread order, then "quick", "small" (one page of each family) or "full". The golden file is where KVQUANT_GOLDEN_PAGES says.
#include <cstdio>
#include <string>

#include "launch.h"
#include "test/golden-pages.h"

namespace {

int failures = 0;

void report(bool passed, const std::string &sentence) {
  std::printf("%s %s\n", passed ? "ok" : "not ok", sentence.c_str());
  std::fflush(stdout);
  failures += !passed;
}

struct encoded_pages {
  std::vector<std::vector<uint8_t>> blocks;
  std::vector<std::vector<uint32_t>> offsets;
  std::vector<kvq_cuda_encoded> about;
  bool rest_is_untouched = true;
};

// Runs one call over pages that come as `sources`: fp32 rows, or exact storage of 64 tokens.
encoded_pages run_encode(kvq_cuda_encode e, const kvq_block_layout &layout, const std::vector<const void *> &sources, const std::vector<uint32_t> &tokens, uint32_t capacity, uint64_t seed) {
  emulation::host_memory memory;
  const size_t room = kvq_block_capacity(&layout);
  std::vector<kvq_cuda_encode_page> pages;
  for (size_t i = 0; i < sources.size(); i++) {
    uint8_t *block = static_cast<uint8_t *>(memory.allocate(room));
    memset(block, 0xa5, room);
    pages.push_back({sources[i], block, layout.outliers ? static_cast<uint32_t *>(memory.allocate(4 * layout.kv_heads)) : nullptr, tokens[i], capacity});
  }
  e.pages = memory.place(pages);
  e.count = static_cast<uint32_t>(pages.size());
  e.encoded = memory.place(std::vector<kvq_cuda_encoded>(pages.size()));
  e.scratch = static_cast<uint8_t *>(memory.allocate(kvq_cuda_encode_scratch(e)));
  for (const kvq_cuda_launch &launch : kvq_cuda_plan_encode(e)) emulation::run(launch, seed);
  encoded_pages result;
  for (size_t i = 0; i < pages.size(); i++) {
    result.about.push_back(e.encoded[i]);
    result.blocks.emplace_back(pages[i].block, pages[i].block + e.encoded[i].bytes);
    for (size_t place = e.encoded[i].bytes; place < room; place++) result.rest_is_untouched &= pages[i].block[place] == 0xa5;
    if (layout.outliers) result.offsets.emplace_back(pages[i].outliers, pages[i].outliers + layout.kv_heads);
  }
  return result;
}

kvq_cuda_encode parameters_of(const golden::made_page &made) { return made.about.keys() ? kvq_cuda_encode_of(made.key) : kvq_cuda_encode_of(made.value); }

void golden_pages(const char *path, bool quick, uint64_t seed) {
  std::string last_family;
  size_t checked = 0;
  for (const golden::page &page : golden::read_pages(path)) {
    if (page.head_dim % 32 != 0 || page.head_dim > 256) continue;
    if (quick && (page.family == last_family || page.tokens * page.columns() > 64 * 256)) continue;
    last_family = page.family;
    const golden::made_page made(page);
    const encoded_pages got = run_encode(parameters_of(made), made.layout(), {made.x.data()}, {page.tokens}, 0, seed);
    const bool right = got.blocks[0].size() == page.bytes && golden::crc32(got.blocks[0].data(), got.blocks[0].size()) == page.block_crc && got.about[0].saturated == page.saturated &&
                       got.about[0].clamped == page.clamped && got.about[0].failed == 0 && got.rest_is_untouched;
    report(right, "golden page " + page.name());
    checked++;
  }
  report(checked >= 4, "the golden file has pages for the kernels");
}

// Pages of halves, as the caches hold them; the last one is partial.
void exact_storage(uint32_t bits, bool paper, uint64_t seed) {
  kvq_test::problem_shape s = {};
  s.recipe = {64, bits, !paper, bits, !paper};
  s.kv_heads = 3, s.group = 1, s.rotary_dim = 32, s.key_outliers = s.value_outliers = paper;
  kvq_test::random_numbers random(bits);
  const kvq_test::fitted_layer layer(s, random);
  constexpr size_t columns = 3 * 64;
  std::vector<uint8_t> scratch(kvq_codec_scratch(3, 64) + 64);
  uint8_t *aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  const std::vector<uint32_t> tokens = {64, 64, 17};
  for (const bool values : {false, true}) {
    std::vector<std::vector<uint16_t>> storage;
    std::vector<std::vector<float>> rows;
    for (const uint32_t count : tokens) {
      storage.emplace_back(3 * columns * 64, 0x7e00);
      rows.emplace_back(count * columns);
      for (uint32_t t = 0; t < count; t++) {
        for (size_t c = 0; c < columns; c++) {
          const double x = values ? random.normal() : layer.zero[c] + layer.scale[c] * (2.2 * random.uniform() - 1.1);
          uint16_t &half = storage.back()[((c / 64 * 3 + (values ? 1 : 2)) * 64 + t) * 64 + c % 64];
          half = half_of_float(static_cast<float>(x));
          rows.back()[t * columns + c] = float_of_half(half);
        }
      }
    }
    const kvq_block_layout layout = values ? kvq_value_layout(&layer.value) : kvq_key_layout(&layer.key);
    const encoded_pages got = run_encode(values ? kvq_cuda_encode_of(layer.value) : kvq_cuda_encode_of(layer.key), layout, {storage[0].data(), storage[1].data(), storage[2].data()}, tokens, 64, seed);
    bool right = got.rest_is_untouched;
    for (size_t i = 0; i < tokens.size(); i++) {
      std::vector<uint8_t> block(kvq_block_capacity(&layout));
      kvq_encoded encoded;
      values ? kvq_encode_values(kvq_isa_best(), &layer.value, rows[i].data(), tokens[i], block.data(), aligned, &encoded)
             : kvq_encode_keys(kvq_isa_best(), &layer.key, rows[i].data(), tokens[i], block.data(), aligned, &encoded);
      block.resize(encoded.bytes);
      std::vector<uint32_t> offsets(layout.kv_heads);
      kvq_check_block(&layout, block.data(), block.size(), tokens[i], offsets.data());
      right &= block == got.blocks[i] && encoded.saturated == got.about[i].saturated && encoded.clamped == got.about[i].clamped && (!layout.outliers || offsets == got.offsets[i]);
    }
    report(right, std::string("three pages from exact storage in one call: ") + (paper ? "offline ranges with outliers, " : "page scales and rotation, ") + (values ? "values " : "keys ") + std::to_string(bits) + " bits");
  }
}

void append(uint64_t seed) {
  constexpr uint32_t heads = 2, head_dim = 64, rotary = 32, count = 3;
  constexpr uint16_t capacity = 5;
  emulation::host_memory memory;
  kvq_test::random_numbers random(9);
  std::vector<float> key(count * heads * head_dim), value(key.size()), angles(count * head_dim);
  for (float &x : key) x = static_cast<float>(random.normal());
  for (float &x : value) x = static_cast<float>(random.normal());
  for (size_t i = 0; i < angles.size() / 2; i++) angles[2 * i] = static_cast<float>(std::cos(i * 0.7)), angles[2 * i + 1] = static_cast<float>(std::sin(i * 0.7));
  const size_t numbers = size_t{3} * heads * capacity * head_dim;
  std::vector<kvq_cuda_append_row> rows;
  std::vector<uint16_t *> chunks;
  for (uint32_t i = 0; i < count; i++) {
    chunks.push_back(memory.place(std::vector<uint16_t>(numbers, 0x1234)));
    rows.push_back({chunks[i], capacity, static_cast<uint16_t>(i + 1), i / 2});
  }
  uint32_t *overflow = memory.place(std::vector<uint32_t>{0, 0}); // rows 0 and 1 are of the first sequence, row 2 is of the second
  kvq_cuda_append a = {memory.place(rows), memory.place(key), memory.place(value), memory.place(angles), overflow, count, heads, head_dim, rotary, heads * head_dim, heads * head_dim};
  emulation::run(kvq_cuda_plan_append(a), seed);
  bool right = overflow[0] == 0 && overflow[1] == 0;
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t h = 0; h < heads; h++) {
      for (uint32_t c = 0; c < head_dim; c++) {
        const float *k = key.data() + (i * heads + h) * head_dim;
        double x = k[c];
        if (c < rotary) {
          const uint32_t pair = c % (rotary / 2);
          const double cosine = angles[i * head_dim + 2 * pair], sine = angles[i * head_dim + 2 * pair + 1];
          x = c < rotary / 2 ? k[pair] * cosine - k[pair + rotary / 2] * sine : k[pair] * sine + k[pair + rotary / 2] * cosine;
        }
        const auto at = [&](uint32_t part) { return chunks[i][((h * 3 + part) * capacity + i + 1) * head_dim + c]; };
        right &= at(2) == half_of_float(k[c]) && at(1) == half_of_float(value[(i * heads + h) * head_dim + c]) && std::fabs(float_of_half(at(0)) - x) <= 1e-3 * std::fabs(x) + 1e-6;
      }
    }
    for (size_t n = 0; n < numbers; n++) right &= n / head_dim % capacity == i + 1 || chunks[i][n] == 0x1234;
  }
  report(right, "append writes rotated keys, values and keys before RoPE to their slots and nothing else");
  const_cast<float *>(a.key)[2 * heads * head_dim + 3] = 1e6f;
  emulation::run(kvq_cuda_plan_append(a), seed);
  report(overflow[0] == 0 && overflow[1] == 1, "append tells which sequence has a number that is not finite in fp16");
}

}  // namespace

int main(int count, char **arguments) {
  const uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 0) : 0;
  const std::string mode = count > 2 ? arguments[2] : "quick";
  const char *path = std::getenv("KVQUANT_GOLDEN_PAGES");
  if (mode == "small") {
    exact_storage(2, true, seed);
    return failures > 0;
  }
  golden_pages(path == nullptr ? "packages/quant/golden/pages.txt" : path, mode == "quick", seed);
  for (const uint32_t bits : mode == "full" ? std::vector<uint32_t>{2, 3, 4, 5} : std::vector<uint32_t>{3, 5})
    for (const bool paper : {false, true}) exact_storage(bits, paper, seed);
  append(seed);
  return failures > 0;
}
