// The golden pages of packages/quant/golden/pages.txt: reads the file and makes each page's plan and input by the integer rules in its header comment,
// independently of packages/quant/src/testing/golden-pages.ts, which made the file.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kvquant/page.h"

namespace golden {

// CRC-32 as in zip (reflected 0xedb88320).
inline uint32_t crc32(const void *data, size_t bytes) {
  const uint8_t *byte = static_cast<const uint8_t *>(data);
  uint32_t crc = ~0u;
  for (size_t index = 0; index < bytes; index++) {
    crc ^= byte[index];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

// A block with one byte changed: what its decoded numbers' checksum is, unless it is corrupt.
struct change {
  size_t place;
  uint8_t bits;
  bool corrupt;
  uint32_t decoded_crc;
};

struct page {
  std::string family;
  uint32_t bits, kv_heads, head_dim, rotary_dim, outliers, feedback, tokens, seed;
  uint32_t plan_crc, input_crc, block_crc, saturated, clamped, decoded_crc;
  size_t bytes;
  std::string hex;             // the whole block, for small pages
  std::vector<change> changes; // of that block

  bool keys() const { return family == "channel-keys" || family == "page-keys"; }
  uint32_t columns() const { return kv_heads * head_dim; }
  std::string name() const {
    std::ostringstream text;
    text << family << ' ' << bits << " bits, " << kv_heads << " x " << head_dim << ", " << tokens << " tokens, seed " << seed;
    return text.str();
  }
};

inline std::vector<page> read_pages(const std::string &path) {
  std::vector<page> pages;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, colon;
    words >> kind;
    if (kind == "hex") words >> pages.back().hex;
    if (kind == "change") {
      uint32_t place, bits;
      std::string result;
      words >> place >> bits >> result;
      const bool corrupt = result == "corrupt";
      pages.back().changes.push_back({place, static_cast<uint8_t>(bits), corrupt, corrupt ? 0 : static_cast<uint32_t>(std::stoul(result, nullptr, 16))});
    }
    if (kind != "page") continue;
    page p;
    words >> p.family >> p.bits >> p.kv_heads >> p.head_dim >> p.rotary_dim >> p.outliers >> p.feedback >> p.tokens >> p.seed >> colon;
    words >> std::hex >> p.plan_crc >> p.input_crc >> std::dec >> p.bytes >> std::hex >> p.block_crc >> std::dec >> p.saturated >> p.clamped >> std::hex >> p.decoded_crc;
    pages.push_back(p);
  }
  return pages;
}

// Plan and input of a page. Not copyable: the plans point into it.
struct made_page {
  explicit made_page(const page &of) : about(of), state_(of.seed) {
    make_levels();
    if (about.keys()) make_keys();
    else if (about.family == "rotated-values") make_rotated();
    make_input();
    fill_plans();
  }
  made_page(const made_page &) = delete;

  const page &about;
  std::vector<float> levels, midpoints, first, second, low, high, weights, x; // first, second: scale and zero, or mean and deviation
  std::vector<uint16_t> order;
  kvq_key_plan key = {};
  kvq_value_plan value = {};

  kvq_block_layout layout() const { return about.keys() ? kvq_key_layout(&key) : kvq_value_layout(&value); }

  uint32_t plan_crc() const {
    std::vector<float> all = levels;
    for (const auto *array : {&midpoints, &first, &second, &low, &high}) all.insert(all.end(), array->begin(), array->end());
    all.insert(all.end(), order.begin(), order.end());
    all.insert(all.end(), weights.begin(), weights.end());
    return crc32(all.data(), all.size() * sizeof(float));
  }

 private:
  uint32_t draw() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
  }
  float drawn(uint32_t count, int from, int divisor) { return static_cast<float>(static_cast<int>(draw() % count) + from) / static_cast<float>(divisor); }

  void make_levels() {
    const int n = 1 << about.bits;
    std::vector<int> grid;
    for (int i = 0; i < n; i++) grid.push_back(254 * i * (i + n) / ((n - 1) * (2 * n - 1)) - 127);
    for (int i = 0; i < n; i++) levels.push_back(static_cast<float>(grid[i]) / 127.0f);
    for (int i = 0; i + 1 < n; i++) midpoints.push_back(static_cast<float>(grid[i] + grid[i + 1]) / 254.0f);
  }

  void make_keys() {
    for (uint32_t column = 0; column < about.columns(); column++) {
      const float scale = drawn(9, 8, 8);
      const float zero = drawn(65, -32, 16);
      const bool plain = column % about.head_dim == 0;
      first.push_back(plain ? 1.0f : scale);
      second.push_back(plain ? 0.0f : zero);
    }
    if (about.family == "channel-keys") {
      for (uint32_t column = 0; column < about.columns(); column++) {
        low.push_back(second[column] - first[column]);
        high.push_back(second[column] + first[column]);
      }
    }
    if (!about.feedback) return;
    for (uint32_t column = 0; column < about.columns(); column++) order.push_back(static_cast<uint16_t>((7 * (column % about.head_dim) + 3 + column / about.head_dim) % about.head_dim));
    for (uint32_t pair = 0; pair < about.columns() * (about.head_dim - 1) / 2; pair++) weights.push_back(drawn(33, -16, 256));
  }

  void make_rotated() {
    for (uint32_t column = 0; column < about.columns(); column++) {
      first.push_back(drawn(65, -32, 32));
      second.push_back(drawn(13, 4, 8));
    }
  }

  void make_input() {
    for (uint32_t token = 0; token < about.tokens; token++)
      for (uint32_t column = 0; column < about.columns(); column++) x.push_back(make_number(token, column));
  }

  float make_number(uint32_t token, uint32_t column) {
    const float spread = about.keys() ? first[column] : 1.0f;
    const float center = about.keys() ? second[column] : static_cast<float>(static_cast<int>(column % 7) - 3) / 4.0f;
    const uint32_t d = draw();
    float v = (static_cast<float>(d >> 8) / 8388608.0f - 1.0f) * spread + center;
    const uint32_t kind = d % 256;
    if (kind < 3) v = v * 8.0f;
    else if (kind == 3) v = -0.0f;
    else if (kind == 4) v = 0.0f;
    else if (kind < 8) v = midpoints[(d >> 8) % midpoints.size()] * spread + center;
    if (about.seed % 3 != 0) {
      if (token == 5) v = static_cast<float>(4 + 5 * column % 11) * (column % 2 == 1 ? -1.0f : 1.0f);
      else if (token == 7) v = 0.5f;
      else if (token == 9 && column % 16 == 5) v = 60000.0f;
      else if (token == 11 && column == 1) v = 100000.0f;
      else if (token == 11 && column == 2) v = -100000.0f;
    }
    if (column % 32 == 9) return center;
    if (column % 32 == 25) return -3.0f / 128.0f * spread + center;
    return v;
  }

  void fill_plans() {
    if (about.keys()) {
      const bool page_scales = about.family == "page-keys";
      key = {about.kv_heads, about.head_dim, about.rotary_dim, about.bits, page_scales, about.outliers, first.data(), second.data(),
             page_scales ? nullptr : low.data(), page_scales ? nullptr : high.data(), levels.data(), midpoints.data(),
             about.feedback ? order.data() : nullptr, about.feedback ? weights.data() : nullptr};
    } else {
      const bool rotated = about.family == "rotated-values";
      value = {about.kv_heads, about.head_dim, about.rotary_dim, about.bits, rotated, about.outliers, levels.data(), midpoints.data(),
               rotated ? first.data() : nullptr, rotated ? second.data() : nullptr};
    }
  }

  uint32_t state_;
};

}  // namespace golden
