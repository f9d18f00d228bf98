// A layer of random pages and its attention in float64, decoded from the same bytes, bit by bit. Blocks are random bytes: every bit pattern of the codes is valid.
// Nothing of the library's arithmetic is used.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kvquant/attention.h"

namespace reference {

struct random_numbers {
  uint64_t state;
  uint64_t next() { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state * 0x2545F4914F6CDD1Dull >> 8; }
  double uniform() { return static_cast<double>(next() & 0xffffffffffffull) / 281474976710656.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform() + 1e-300)) * std::cos(6.283185307179586 * uniform()); }
};

inline double half_value(uint16_t h) {
  static const std::vector<double> magnitudes = [] {
    std::vector<double> table;
    for (int bits = 0; bits < 0x7c00; bits++) table.push_back(bits < 1024 ? std::ldexp(bits, -24) : std::ldexp(1024 + bits % 1024, bits / 1024 - 25));
    return table;
  }();
  return h & 0x8000 ? -magnitudes[h & 0x7fff] : magnitudes[h];
}
inline uint16_t nearest_half(double x) {
  uint16_t low = 0, high = 0x7bff;  // magnitudes are ordered like their bits
  while (low < high) {
    const uint16_t middle = static_cast<uint16_t>((low + high + 1) / 2);
    if (half_value(middle) <= std::fabs(x)) low = middle; else high = static_cast<uint16_t>(middle - 1);
  }
  if (low < 0x7bff && std::fabs(x) - half_value(low) > half_value(static_cast<uint16_t>(low + 1)) - std::fabs(x)) low++;
  return static_cast<uint16_t>(low | (x < 0 ? 0x8000 : 0));
}

inline float *aligned(size_t count) { return static_cast<float *>(std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64)); }

struct setting {
  bool page_scales, key_outliers, rotated, value_outliers;
  uint32_t bits, head_dim, rotary_dim;
  bool wild; /* extreme page scales, large zero points, full outlier slots */
  uint64_t start;
  double factor;
};

// One layer with 2 KV heads and 11 pages, and its float64 truth for head 1.
struct layer {
  static constexpr uint32_t heads = 2, head = 1, page_count = 11, queries = 12;
  setting s;
  std::vector<float> scale, zero, key_levels, value_levels, midpoints, mean, deviation, low, high;
  std::vector<double> frequency;
  kvq_key_plan key{};
  kvq_value_plan value{};
  kvq_rope *rope = nullptr;
  std::vector<uint8_t *> blocks;
  std::vector<std::vector<uint32_t>> offsets;
  std::vector<kvq_page_view> pages;
  std::vector<std::vector<double>> keys, values; /* every token of every page, [64 * page][head_dim], keys before RoPE */
  std::vector<float> q;
  uint64_t position;
  float factor_scale;

  double level_of(uint32_t k, bool values_side) const { return values_side ? value_levels[k] : key_levels[k]; }

  static std::vector<float> make_levels(uint32_t bits, random_numbers &random) {
    const int count = 1 << bits;
    std::vector<float> levels;
    for (int i = 0; i < count; i++) {
      const double even = -127 + 254.0 * i / (count - 1), moved = i == 0 || i == count - 1 ? even : even + (random.uniform() - 0.5) * 100 / count;
      levels.push_back(static_cast<float>(std::lround(moved)) / 127.0f);
    }
    return levels;
  }

  // Bits of the packings, read one by one as docs/format.md draws them.
  static uint32_t key_code(const uint8_t *codes, uint32_t bits, uint32_t code, uint32_t token) {
    const uint32_t group = code / 16, c = code % 16, lane = token < 32 ? 31 - token : token, each = bits == 3 ? 5 : bits == 5 ? 3 : 16 / bits;
    const auto word = [&](uint32_t w) { const uint8_t *at = codes + ((group * bits + w) * 64 + lane) * 2; return static_cast<uint32_t>(at[0] | at[1] << 8); };
    if (c < each * bits) return word(c / each) >> (c % each * bits) & ((1u << bits) - 1);
    uint32_t value = 0;
    for (uint32_t w = 0; w < bits; w++) value |= (word(w) >> 15 & 1) << w;
    return value;
  }
  static uint32_t value_code(const uint8_t *codes, uint32_t bits, uint32_t head_dim, uint32_t channel, uint32_t token) {
    const uint32_t n = (token >> 2) * (head_dim / 16) + (channel >> 4), lane = 4 * (channel % 16) + token % 4;
    const auto bit = [&](uint32_t vectors, uint32_t byte, uint32_t b) { return static_cast<uint32_t>(codes[(n / vectors * (vectors * bits / 8) + byte) * 64 + lane] >> b & 1); };
    uint32_t value = 0;
    // bit k of vector v: {byte, bit}
    static const int three[8][3][2] = {{{0, 0}, {0, 1}, {0, 2}}, {{0, 3}, {0, 4}, {0, 5}}, {{1, 0}, {1, 1}, {1, 2}}, {{1, 3}, {1, 4}, {1, 5}},
                                       {{2, 0}, {2, 1}, {2, 2}}, {{2, 3}, {2, 4}, {2, 5}}, {{0, 6}, {0, 7}, {2, 6}}, {{1, 6}, {1, 7}, {2, 7}}};
    static const int five[3][5][2] = {{{0, 5}, {0, 6}, {0, 7}, {3, 5}, {3, 6}}, {{1, 5}, {1, 6}, {1, 7}, {4, 5}, {4, 6}}, {{2, 5}, {2, 6}, {2, 7}, {3, 7}, {4, 7}}};
    for (uint32_t k = 0; k < bits; k++) {
      if (bits == 4) value |= bit(2, 0, 4 * (n % 2) + k) << k;
      else if (bits == 2) value |= bit(4, 0, 2 * (n % 4) + k) << k;
      else if (bits == 3) value |= bit(8, static_cast<uint32_t>(three[n % 8][k][0]), static_cast<uint32_t>(three[n % 8][k][1])) << k;
      else if (n % 8 < 5) value |= bit(8, n % 8, k) << k;
      else value |= bit(8, static_cast<uint32_t>(five[n % 8 - 5][k][0]), static_cast<uint32_t>(five[n % 8 - 5][k][1])) << k;
    }
    return value;
  }

  uint32_t channel_of(uint32_t code) const { return code < s.rotary_dim ? code / 2 + code % 2 * (s.rotary_dim / 2) : code; }

  // Appends a head's outlier section and adds its differences to `rows` [64][head_dim] (by channel).
  void add_outliers(std::vector<uint8_t> &block, random_numbers &random, double size, bool key_side, std::vector<double> *rows) const {
    std::vector<uint8_t> counts(32), indices;
    std::vector<uint16_t> deltas;
    for (uint32_t t = 0; t < 64; t++) {
      uint32_t count = s.wild ? (t % 3 == 0 ? 15 : t % 3 == 1 ? 0 : 7) : random.next() % 100 < 40 ? 0 : static_cast<uint32_t>(random.next() % 4);
      if (count > s.head_dim) count = s.head_dim;
      counts[t / 2] = static_cast<uint8_t>(counts[t / 2] | count << 4 * (t & 1));
      uint32_t index = static_cast<uint32_t>(random.next() % (s.head_dim - count + 1));
      for (uint32_t i = 0; i < count; i++) {
        const uint16_t delta = nearest_half(random.normal() * size);
        deltas.push_back(delta);
        indices.push_back(static_cast<uint8_t>(index));
        if (rows) (*rows)[t * s.head_dim + (key_side ? channel_of(index) : index)] += half_value(delta);
        index += index + (count - i) < s.head_dim ? 1 + static_cast<uint32_t>(random.next() % (s.head_dim - index - (count - i))) % 5 : 1;
      }
    }
    block.insert(block.end(), counts.begin(), counts.end());
    for (uint16_t d : deltas) block.push_back(static_cast<uint8_t>(d)), block.push_back(static_cast<uint8_t>(d >> 8));
    block.insert(block.end(), indices.begin(), indices.end());
    while (block.size() % 4) block.push_back(0);
  }

  uint8_t *keep(const std::vector<uint8_t> &block) {
    uint8_t *memory = static_cast<uint8_t *>(std::aligned_alloc(64, (block.size() + KVQ_BLOCK_PADDING + 63) / 64 * 64));
    std::memcpy(memory, block.data(), block.size());
    std::memset(memory + block.size(), 0, KVQ_BLOCK_PADDING);
    blocks.push_back(memory);
    return memory;
  }

  const uint8_t *make_keys(random_numbers &random, uint32_t *offset) {
    const uint32_t d = s.head_dim, codes = 64 * d * s.bits / 8, side = s.page_scales ? (2 * d + 63) / 64 * 64 : 0;
    std::vector<uint8_t> block;
    keys.emplace_back(64 * d);
    for (uint32_t h = 0; h < heads; h++) {
      const size_t at = block.size();
      for (uint32_t i = 0; i < codes; i++) block.push_back(static_cast<uint8_t>(random.next()));
      for (uint32_t i = 0; i < side; i++) {
        const int e = s.wild ? -192 + static_cast<int>(random.next() % 256) : -40 + static_cast<int>(random.next() % 41), n = s.wild ? static_cast<int>(random.next() % 256) : 108 + static_cast<int>(random.next() % 40);
        block.push_back(i < d ? static_cast<uint8_t>(e + 192) : i < 2 * d ? static_cast<uint8_t>(n) : 0);
      }
      if (h != head) continue;
      for (uint32_t code = 0; code < d; code++) {
        const uint32_t c = channel_of(code);
        double a = scale[h * d + c], z = zero[h * d + c];
        if (s.page_scales) {
          const uint8_t *numbers = block.data() + at + codes;
          z += a * (numbers[d + code] - 128) / 64;
          a *= std::exp2((numbers[code] - 192) / 16.0);
        }
        for (uint32_t t = 0; t < 64; t++) keys.back()[t * d + c] = key_levels[key_code(block.data() + at, s.bits, code, t)] * a + z;
      }
    }
    for (uint32_t h = 0; s.key_outliers && h < heads; h++) {
      offset[h] = static_cast<uint32_t>(block.size());
      add_outliers(block, random, 2, true, h == head ? &keys.back() : nullptr);
    }
    return keep(block);
  }

  const uint8_t *make_values(random_numbers &random, uint32_t *offset) {
    const uint32_t d = s.head_dim, codes = 64 * d * s.bits / 8;
    std::vector<uint8_t> block;
    values.emplace_back(64 * d);
    for (uint32_t i = 0; i < heads * codes; i++) block.push_back(static_cast<uint8_t>(random.next()));
    std::vector<double> numbers;
    for (uint32_t i = 0; i < (s.rotated ? 64u : 128u); i++) {
      const uint16_t h = nearest_half(i < 64 ? std::exp(random.normal() * 0.5) : random.normal() * 0.3);
      numbers.push_back(half_value(h));
      block.push_back(static_cast<uint8_t>(h));
      block.push_back(static_cast<uint8_t>(h >> 8));
    }
    for (uint32_t t = 0; t < 64; t++) {
      double *row = values.back().data() + t * d;
      for (uint32_t c = 0; c < d; c++) {
        const double level = value_levels[value_code(block.data() + head * codes, s.bits, d, c, t)];
        row[c] = s.rotated ? level * numbers[t] * deviation[head * d + c] + mean[head * d + c] : level * numbers[t] + numbers[64 + t];
      }
      const uint32_t size = d & (0u - d);
      for (uint32_t first = 0; s.rotated && first < d; first += size) {
        std::vector<double> x(row + first, row + first + size);
        for (uint32_t i = 0; i < size; i++) {
          double sum = 0;
          for (uint32_t j = 0; j < size; j++) sum += __builtin_popcount(i & j) & 1 ? -x[j] : x[j];
          row[first + i] = sum / std::sqrt(static_cast<double>(size));
        }
      }
    }
    for (uint32_t h = 0; s.value_outliers && h < heads; h++) {
      offset[h] = static_cast<uint32_t>(block.size());
      add_outliers(block, random, 2, false, h == head ? &values.back() : nullptr);
    }
    return keep(block);
  }

  explicit layer(const setting &settings) : s(settings) {
    random_numbers random{0x9E3779B97F4A7C15ull ^ (s.bits * 1000003u + s.head_dim * 7919u + s.page_scales * 31u + s.wild * 17u)};
    const uint32_t d = s.head_dim, columns = heads * d;
    for (uint32_t c = 0; c < columns; c++) {
      scale.push_back(static_cast<float>(half_value(nearest_half(2 * std::exp(0.5 * random.normal())))));
      zero.push_back(static_cast<float>(half_value(nearest_half(s.wild && c % 16 == 3 ? 80 * scale[c] : random.normal() * (c % 16 == 5 ? 4 : 1)))));
      mean.push_back(static_cast<float>(half_value(nearest_half(0.2 * random.normal()))));
      deviation.push_back(static_cast<float>(half_value(nearest_half(std::exp(0.3 * random.normal())))));
      low.push_back(-1e30f);
      high.push_back(1e30f);
    }
    key_levels = make_levels(s.bits, random);
    value_levels = make_levels(s.bits, random);
    midpoints.assign(31, 0);
    for (uint32_t p = 0; p < s.rotary_dim / 2; p++) frequency.push_back(std::pow(1e5, -2.0 * p / s.rotary_dim));
    kvq_rope_create(d, s.rotary_dim, static_cast<float>(s.factor), frequency.data(), &rope);
    key = {heads, d, s.rotary_dim, s.bits, s.page_scales, s.key_outliers, scale.data(), zero.data(), low.data(), high.data(), key_levels.data(), midpoints.data(), nullptr, nullptr};
    value = {heads, d, s.rotary_dim, s.bits, s.rotated, s.value_outliers ? 5u : 0u, value_levels.data(), midpoints.data(), mean.data(), deviation.data()};
    uint64_t start = s.start;
    offsets.assign(page_count * 2, std::vector<uint32_t>(heads));
    for (uint32_t i = 0; i < page_count; i++) {
      const uint8_t *k = make_keys(random, offsets[2 * i].data()), *v = make_values(random, offsets[2 * i + 1].data());
      const uint32_t tokens = i == 3 ? 37 : i == page_count - 1 ? 1 : 64;
      pages.push_back({k, v, s.key_outliers ? offsets[2 * i].data() : nullptr, s.value_outliers ? offsets[2 * i + 1].data() : nullptr, start, tokens});
      start += i == 5 ? 64 + 13 : 64;
    }
    position = start + 5;
    factor_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
    for (uint32_t i = 0; i < queries * d; i++) q.push_back(static_cast<float>(random.normal()));
    for (uint32_t g = 0; g < queries; g++) {  // largest score 10
      const std::vector<double> row = scores(g);
      double most = 0;
      for (double x : row) most = std::fmax(most, std::isinf(x) ? 0 : std::fabs(x));
      for (uint32_t c = 0; c < d; c++) q[g * d + c] = static_cast<float>(q[g * d + c] * 10 / most);
    }
  }
  ~layer() {
    for (uint8_t *b : blocks) std::free(b);
    kvq_rope_destroy(rope);
  }
  layer(const layer &) = delete;

  // Rotates a row in channel order.
  std::vector<double> rotated(const double *x, uint64_t at, double gain) const {
    std::vector<double> y(x, x + s.head_dim);
    for (uint32_t p = 0; p < s.rotary_dim / 2; p++) {
      const double angle = static_cast<double>(at) * frequency[p], c = std::cos(angle), n = std::sin(angle), a = x[p], b = x[p + s.rotary_dim / 2];
      y[p] = gain * (a * c - b * n);
      y[p + s.rotary_dim / 2] = gain * (a * n + b * c);
    }
    return y;
  }
  // Scores of every slot of every page, -infinity beyond the valid tokens; `halves`: with keys rounded to fp16 after RoPE.
  std::vector<double> scores(uint32_t g, bool halves = false) const {
    std::vector<double> query(s.head_dim), row;
    for (uint32_t c = 0; c < s.head_dim; c++) query[c] = q[g * s.head_dim + c];
    query = rotated(query.data(), position, s.factor);
    for (uint32_t i = 0; i < page_count; i++) {
      for (uint32_t t = 0; t < 64; t++) {
        const std::vector<double> k = rotated(keys[i].data() + t * s.head_dim, pages[i].start + t, s.factor);
        double sum = 0;
        for (uint32_t c = 0; c < s.head_dim; c++) sum += query[c] * (halves ? half_value(nearest_half(k[c])) : k[c]);
        row.push_back(t < pages[i].tokens ? sum / std::sqrt(static_cast<double>(s.head_dim)) : -INFINITY);
      }
    }
    return row;
  }
  // Attention output and log2 of the sum of 2^(score log2 e).
  std::vector<double> attention(const std::vector<double> &row, bool halves, double *log_sum) const {
    std::vector<double> out(s.head_dim);
    double most = -INFINITY, total = 0;
    for (double x : row) most = std::fmax(most, x);
    for (size_t i = 0; i < row.size(); i++) {
      const double weight = std::exp(row[i] - most);
      total += weight;
      for (uint32_t c = 0; weight > 0 && c < s.head_dim; c++) {
        const double v = values[i / 64][i % 64 * s.head_dim + c];
        out[c] += weight * (halves ? half_value(nearest_half(v)) : v);
      }
    }
    for (double &x : out) x /= total;
    *log_sum = (most + std::log(total)) / std::log(2.0);
    return out;
  }
};

// Float64 scores, outputs and log-sums of every query, and the outputs of an fp16 cache.
struct answers {
  std::vector<std::vector<double>> scores, outputs, halves;
  std::vector<double> log_sums;
  explicit answers(const layer &l) {
    for (uint32_t g = 0; g < layer::queries; g++) {
      double log_sum, ignored;
      scores.push_back(l.scores(g));
      outputs.push_back(l.attention(scores.back(), false, &log_sum));
      halves.push_back(l.attention(l.scores(g, true), true, &ignored));
      log_sums.push_back(log_sum);
    }
  }
};

}  // namespace reference
