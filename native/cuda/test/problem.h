// A decode attention problem for kernels and its answer in float64: random keys and values, encoded by the CPU library, in memory that kernels read. Used under emulation and on a GPU.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cuda/attend/attend.h"
#include "cuda/tables/tables.h"
#include "kvquant/codec.h"
#include "ops/common/half.h"

namespace kvq_test {

// Where kernels read and write. Allocations last as long as the memory.
class kernel_memory {
 public:
  virtual ~kernel_memory() = default;
  virtual void *allocate(size_t bytes) = 0; // a multiple of 256; exactly `bytes` bytes where that can be checked
  virtual void write(void *to, const void *from, size_t bytes) = 0;
  virtual void read(void *to, const void *from, size_t bytes) = 0;

  template <class T>
  T *place(const std::vector<T> &from) {
    T *to = static_cast<T *>(allocate(from.size() * sizeof(T)));
    write(to, from.data(), from.size() * sizeof(T));
    return to;
  }
};

class random_numbers {
 public:
  explicit random_numbers(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  uint32_t next() {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_ >> 32);
  }
  double uniform() { return (next() + 0.5) / 4294967296.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }

 private:
  uint64_t state_;
};

struct sequence_shape {
  uint32_t pages;       // closed pages
  uint32_t last_tokens; // valid tokens of the last one
  uint32_t sinks, tail; // exact tokens before the pages and behind them
};

struct problem_shape {
  kvq_cuda_recipe recipe;
  uint32_t kv_heads, group;
  bool key_outliers, value_outliers;
  uint32_t rotary_dim;
  float attention_factor = 1;
  double zero_scale = 1;        // how far zero points lie from 0, in key scales
  std::vector<sequence_shape> sequences;
  uint32_t distinct_pages = 0;  // 0: every page has its own content; else pages repeat (large problems for timing)
  bool scattered = true;        // pages of a sequence lie anywhere
  uint64_t seed = 1;
};

// Fitted arrays with whole levels.
class fitted_layer {
 public:
  fitted_layer(const problem_shape &s, random_numbers &random) {
    const size_t columns = size_t{s.kv_heads} * s.recipe.head_dim;
    const auto half = [](double x) { return float_of_half(half_of_float(static_cast<float>(x))); };
    for (size_t i = 0; i < columns; i++) {
      scale.push_back(half(std::exp(0.4 * random.normal()) * 2));
      zero.push_back(half(s.zero_scale * random.normal() * scale.back()));
      low.push_back(zero.back() - scale.back()), high.push_back(zero.back() + scale.back());
      mean.push_back(half(0.1 * random.normal())), deviation.push_back(half(std::exp(0.3 * random.normal())));
    }
    fill_levels(s.recipe.key_bits, !s.recipe.page_scales, key_levels, key_midpoints);
    fill_levels(s.recipe.value_bits, true, value_levels, value_midpoints);
    const bool offline = !s.recipe.page_scales;
    key = {s.kv_heads, s.recipe.head_dim, s.rotary_dim, s.recipe.key_bits, s.recipe.page_scales, s.key_outliers && offline, scale.data(), zero.data(), offline ? low.data() : nullptr,
           offline ? high.data() : nullptr, key_levels.data(), key_midpoints.data(), nullptr, nullptr};
    value = {s.kv_heads, s.recipe.head_dim, s.rotary_dim, s.recipe.value_bits, s.recipe.rotated, s.value_outliers && !s.recipe.rotated ? static_cast<uint32_t>(columns / 100 + 1) : 0,
             value_levels.data(), value_midpoints.data(), mean.data(), deviation.data()};
  }
  std::vector<float> scale, zero, low, high, mean, deviation, key_levels, key_midpoints, value_levels, value_midpoints;
  kvq_key_plan key;
  kvq_value_plan value;

 private:
  static void fill_levels(uint32_t bits, bool bent, std::vector<float> &levels, std::vector<float> &midpoints) {
    const int count = 1 << bits;
    std::vector<double> whole;
    for (int i = 0; i < count; i++) {
      const double t = 2.0 * i / (count - 1) - 1;
      whole.push_back(std::round(127 * (bent ? std::tan(1.1 * t) / std::tan(1.1) : t)));
    }
    for (int i = 0; i < count; i++) levels.push_back(static_cast<float>(whole[i] / 127));
    for (int i = 0; i + 1 < count; i++) midpoints.push_back(static_cast<float>((whole[i] + whole[i + 1]) / 254));
  }
};

class attention_problem {
 public:
  // like: a problem of the same shape whose contents this one repeats in other memory.
  attention_problem(const problem_shape &s, kernel_memory &memory, bool with_answer = true, const attention_problem *like = nullptr) : shape(s), random_(s.seed), layer(s, random_), memory_(memory) {
    if (like != nullptr) pages_ = like->pages_, chunk_ = like->chunk_;
    const uint32_t head_dim = s.recipe.head_dim;
    std::vector<double> frequency;
    for (uint32_t p = 0; p < s.rotary_dim / 2; p++) frequency.push_back(std::pow(10000.0, -2.0 * p / s.rotary_dim));
    kvq_rope *rope = nullptr;
    if (kvq_rope_create(head_dim, s.rotary_dim, s.attention_factor, frequency.data(), &rope) != KVQ_OK) std::abort();
    rope_.reset(rope);
    scratch_.resize(kvq_codec_scratch(s.kv_heads, head_dim) + 64);
    make_pages();
    make_sequences(with_answer);
    fill_parameters();
  }

  // Scratch and launches for a device; the answer of all launches appears in out().
  kvq_cuda_attention_plan plan(const kvq_cuda_device &device, bool half = false) {
    const auto make = [&] { return half ? kvq_cuda_plan_half(device, shape.recipe.head_dim, attention) : kvq_cuda_plan_attention(device, shape.recipe, attention); };
    const kvq_cuda_attention_plan sizes = make();
    attention.scores = static_cast<float *>(memory_.allocate(sizes.scratch.score_bytes));
    attention.partials = static_cast<float *>(memory_.allocate(sizes.scratch.partial_bytes));
    attention.arrivals = memory_.place(std::vector<uint32_t>(sizes.scratch.arrival_bytes / 4));
    std::vector<uint8_t> garbage(std::max(sizes.scratch.partial_bytes, sizes.scratch.score_bytes), 0xff); // not a number
    memory_.write(attention.scores, garbage.data(), sizes.scratch.score_bytes);
    memory_.write(attention.partials, garbage.data(), sizes.scratch.partial_bytes);
    memory_.write(attention.out, garbage.data(), std::min(garbage.size(), out_count() * 4));
    return make();
  }

  size_t out_count() const { return shape.sequences.size() * shape.kv_heads * shape.group * shape.recipe.head_dim; }
  std::vector<float> out() {
    std::vector<float> result(out_count());
    memory_.read(result.data(), attention.out, result.size() * 4);
    return result;
  }
  // Largest relative error of a head's answer: |out - answer| / |answer|; NaN if any number is.
  double error() {
    const std::vector<float> got = out();
    const uint32_t head_dim = shape.recipe.head_dim;
    double worst = 0;
    for (size_t row = 0; row < got.size() / head_dim; row++) {
      double e = 0, n = 0;
      for (size_t i = row * head_dim; i < (row + 1) * head_dim; i++) e += (got[i] - answer[i]) * (got[i] - answer[i]), n += answer[i] * answer[i];
      const double r = std::sqrt(e / n);
      if (!(r <= worst)) worst = r;
    }
    return worst;
  }

  // Bytes that a step must read: pages and exact tokens.
  size_t bytes() const { return page_bytes_; }

  problem_shape shape;
  kvq_cuda_attention attention = {};
  std::vector<double> answer; // [sequences][kv_heads * group][head_dim]

 private:
  struct host_page {
    std::vector<uint8_t> key, value;
    std::vector<uint32_t> outliers; // [2][kv_heads]
    std::vector<float> keys, values; // decoded, [64][columns]
    uint8_t *key_place, *value_place;
    uint32_t *outliers_place;
    uint32_t tokens;
  };
  struct rope_deleter {
    void operator()(kvq_rope *rope) const { kvq_rope_destroy(rope); }
  };

  size_t columns() const { return size_t{shape.kv_heads} * shape.recipe.head_dim; }
  uint8_t *scratch() { return reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(scratch_.data()) + 63) & ~uintptr_t{63}); }

  host_page encode(uint32_t tokens) {
    const kvq_isa isa = kvq_isa_best();
    host_page page = {};
    page.tokens = tokens;
    std::vector<float> keys(tokens * columns()), values(tokens * columns());
    for (size_t i = 0; i < keys.size(); i++) {
      const size_t c = i % columns();
      // One key in a hundred lies outside its thresholds; one token has so many outliers that slots run out.
      const double reach = shape.recipe.page_scales || (i / columns() != 3 && random_.next() % 100 != 0) ? 1 : 1.5;
      keys[i] = static_cast<float>(layer.zero[c] + reach * layer.scale[c] * (2 * random_.uniform() - 1));
      values[i] = static_cast<float>(random_.normal() * (random_.next() % 100 == 0 ? 4 : 1));
    }
    const kvq_block_layout key_layout = kvq_key_layout(&layer.key), value_layout = kvq_value_layout(&layer.value);
    kvq_encoded encoded;
    page.outliers.assign(2 * shape.kv_heads, 0);
    page.keys.resize(64 * columns()), page.values.resize(64 * columns());
    page.key.resize(kvq_block_capacity(&key_layout));
    if (kvq_encode_keys(isa, &layer.key, keys.data(), tokens, page.key.data(), scratch(), &encoded) != KVQ_OK) std::abort();
    page.key.resize(encoded.bytes);
    page.value.resize(kvq_block_capacity(&value_layout));
    if (kvq_encode_values(isa, &layer.value, values.data(), tokens, page.value.data(), scratch(), &encoded) != KVQ_OK) std::abort();
    page.value.resize(encoded.bytes);
    if (kvq_check_block(&key_layout, page.key.data(), page.key.size(), tokens, page.outliers.data()) != KVQ_OK) std::abort();
    if (kvq_check_block(&value_layout, page.value.data(), page.value.size(), tokens, page.outliers.data() + shape.kv_heads) != KVQ_OK) std::abort();
    kvq_decode_keys(isa, &layer.key, page.key.data(), tokens, page.outliers.data(), page.keys.data(), scratch());
    kvq_decode_values(isa, &layer.value, page.value.data(), tokens, page.outliers.data() + shape.kv_heads, page.values.data(), scratch());
    return page;
  }

  uint8_t *place_block(const std::vector<uint8_t> &block) {
    uint8_t *to = static_cast<uint8_t *>(memory_.allocate(block.size() + KVQ_BLOCK_PADDING));
    memory_.write(to, block.data(), block.size());
    return to;
  }

  void make_pages() {
    size_t count = 0;
    for (const sequence_shape &sequence : shape.sequences) count += sequence.pages;
    const size_t distinct = shape.distinct_pages == 0 ? count : std::min<size_t>(count, shape.distinct_pages);
    size_t index = 0;
    std::vector<bool> partial;
    for (const sequence_shape &sequence : shape.sequences)
      for (uint32_t p = 0; p < sequence.pages; p++) partial.push_back(p + 1 == sequence.pages && sequence.last_tokens < 64);
    if (pages_ == nullptr) pages_ = std::make_shared<std::vector<host_page>>();
    for (index = pages_->size(); index < distinct; index++) pages_->push_back(encode(shape.distinct_pages == 0 && partial[index] ? 40 : 64));
    std::vector<size_t> order(count);
    for (size_t i = 0; i < count; i++) order[i] = i;
    if (shape.scattered) for (size_t i = count; i > 1; i--) std::swap(order[i - 1], order[random_.next() % i]);
    places_.resize(count);
    for (const size_t i : order) {
      const host_page &page = (*pages_)[i % distinct];
      places_[i] = {place_block(page.key), place_block(page.value), layer.key.outliers || layer.value.outlier_count ? memory_.place(page.outliers) : nullptr, 0, page.tokens};
      page_bytes_ += page.key.size() + page.value.size();
    }
  }

  // Adds a sequence's exact chunk; keys come rotated.
  kvq_cuda_exact make_chunk(uint32_t tokens, uint32_t capacity, uint32_t position, std::vector<double> *keys, std::vector<double> *values) {
    const uint32_t head_dim = shape.recipe.head_dim;
    const bool repeats = shape.distinct_pages > 0 && tokens == capacity && tokens == 64 && keys == nullptr;
    page_bytes_ += tokens * columns() * 4;
    if (repeats && chunk_ != nullptr) return {memory_.place(*chunk_), tokens, capacity};
    std::vector<uint16_t> chunk(size_t{3} * capacity * columns(), 0x7e00); // not a number where no token is
    std::vector<float> angles(head_dim);
    for (uint32_t t = 0; t < tokens; t++) {
      kvq_cuda_fill_angles(rope_.get(), position + t, angles.data());
      std::vector<double> raw(columns());
      for (size_t c = 0; c < columns(); c++) raw[c] = layer.zero[c] + layer.scale[c] * (2 * random_.uniform() - 1);
      for (uint32_t h = 0; h < shape.kv_heads; h++) {
        uint16_t *key = chunk.data() + (size_t{h} * 3 * capacity + t) * head_dim, *value = key + size_t{capacity} * head_dim;
        for (uint32_t c = 0; c < head_dim; c++) {
          double x = raw[h * head_dim + c];
          if (c < shape.rotary_dim) {
            const uint32_t half = shape.rotary_dim / 2, pair = c % half;
            const double a = raw[h * head_dim + pair], b = raw[h * head_dim + pair + half];
            x = c < half ? a * angles[2 * pair] - b * angles[2 * pair + 1] : a * angles[2 * pair + 1] + b * angles[2 * pair];
          }
          key[c] = half_of_float(static_cast<float>(x));
          value[c] = half_of_float(static_cast<float>(random_.normal()));
          if (keys != nullptr) keys->push_back(float_of_half(key[c])), values->push_back(float_of_half(value[c]));
        }
      }
    }
    if (repeats) chunk_ = std::make_shared<std::vector<uint16_t>>(chunk);
    return {memory_.place(chunk), tokens, capacity};
  }

  void make_sequences(bool with_answer) {
    const uint32_t head_dim = shape.recipe.head_dim, heads = shape.kv_heads * shape.group;
    uint32_t most_chunks = 0, most_pages = 0;
    for (const sequence_shape &s : shape.sequences) {
      most_pages = std::max(most_pages, s.pages);
      most_chunks = std::max(most_chunks, (s.sinks > 0) + (s.tail + 63) / 64);
    }
    std::vector<kvq_cuda_exact> exact;
    std::vector<float> query, query_angles, page_angles, row(head_dim);
    size_t next_page = 0;
    for (const sequence_shape &s : shape.sequences) {
      std::vector<double> keys, values; // of exact tokens, [token][columns]
      const uint32_t behind = s.sinks + (s.pages == 0 ? 0 : 64 * (s.pages - 1) + s.last_tokens);
      std::vector<kvq_cuda_exact> chunks;
      if (s.sinks > 0) chunks.push_back(make_chunk(s.sinks, s.sinks, 0, with_answer ? &keys : nullptr, &values));
      for (uint32_t t = 0; t < s.tail; t += 64) chunks.push_back(make_chunk(std::min(64u, s.tail - t), 64, behind + t, with_answer ? &keys : nullptr, &values));
      chunks.resize(most_chunks, {nullptr, 0, 64});
      exact.insert(exact.end(), chunks.begin(), chunks.end());
      const uint32_t position = behind + s.tail - 1;
      kvq_cuda_fill_angles(rope_.get(), position, row.data());
      query_angles.insert(query_angles.end(), row.begin(), row.end());
      const size_t first_query = query.size();
      for (uint32_t i = 0; i < heads * head_dim; i++) query.push_back(static_cast<float>(random_.normal()));
      for (uint32_t p = 0; p < s.pages; p++) {
        kvq_cuda_page &page = places_[next_page + p];
        page.angle_row = static_cast<uint32_t>(page_angles.size() / head_dim);
        if (p + 1 == s.pages) page.tokens = s.last_tokens;
        kvq_cuda_fill_angles(rope_.get(), s.sinks + 64.0 * p + 31.5, row.data());
        page_angles.insert(page_angles.end(), row.begin(), row.end());
      }
      if (with_answer) solve(s, next_page, query.data() + first_query, position, keys, values);
      next_page += s.pages;
    }
    const kvq_cuda_page *pages = memory_.place(places_);
    std::vector<kvq_cuda_page_table> tables;
    for (const sequence_shape &s : shape.sequences) tables.push_back({pages, s.pages}), pages += s.pages;
    attention.tables = memory_.place(tables);
    attention.exact = memory_.place(exact);
    attention.query = memory_.place(query);
    attention.query_angles = memory_.place(query_angles);
    attention.page_angles = memory_.place(page_angles);
    attention.most_pages = most_pages;
    attention.exact_slots = most_chunks;
  }

  // The attention of one query token over everything its sequence holds, in float64.
  void solve(const sequence_shape &s, size_t first_page, const float *query, uint32_t position, const std::vector<double> &exact_keys, const std::vector<double> &exact_values) {
    const uint32_t d = shape.recipe.head_dim, half = shape.rotary_dim / 2;
    const size_t wide = columns(), exact_tokens = exact_keys.size() / wide;
    const auto turn = [&](double *x, double at, double gain) {
      for (uint32_t p = 0; p < half; p++) {
        const double angle = at * rope_->frequency[p], c = std::cos(angle) * gain, n = std::sin(angle) * gain, a = x[p], b = x[p + half];
        x[p] = a * c - b * n, x[p + half] = a * n + b * c;
      }
    };
    for (uint32_t h = 0; h < shape.kv_heads; h++) {
      std::vector<double> keys, values;
      for (size_t t = 0; t < exact_tokens; t++)
        for (uint32_t c = 0; c < d; c++) keys.push_back(exact_keys[t * wide + h * d + c]), values.push_back(exact_values[t * wide + h * d + c]);
      for (uint32_t p = 0; p < s.pages; p++) {
        const host_page &page = (*pages_)[(first_page + p) % pages_->size()];
        for (uint32_t t = 0; t < (p + 1 == s.pages ? s.last_tokens : 64); t++) {
          for (uint32_t c = 0; c < d; c++) keys.push_back(page.keys[t * wide + h * d + c]), values.push_back(page.values[t * wide + h * d + c]);
          turn(keys.data() + keys.size() - d, s.sinks + 64.0 * p + t, shape.attention_factor);
        }
      }
      const size_t tokens = keys.size() / d;
      for (uint32_t g = 0; g < shape.group; g++) {
        std::vector<double> q(query + (h * shape.group + g) * d, query + (h * shape.group + g + 1) * d), weight(tokens), sum(d);
        turn(q.data(), position, shape.attention_factor);
        double most = -1e300, total = 0;
        for (size_t t = 0; t < tokens; t++) {
          for (uint32_t c = 0; c < d; c++) weight[t] += q[c] * keys[t * d + c];
          weight[t] /= std::sqrt(static_cast<double>(d));
          most = std::max(most, weight[t]);
        }
        for (double &w : weight) total += w = std::exp(w - most);
        for (size_t t = 0; t < tokens; t++)
          for (uint32_t c = 0; c < d; c++) sum[c] += weight[t] * values[t * d + c];
        for (uint32_t c = 0; c < d; c++) answer.push_back(sum[c] / total);
      }
    }
  }

  void fill_parameters() {
    const uint32_t head_dim = shape.recipe.head_dim;
    std::vector<uint32_t> offsets(kvq_cuda_offset_angle_count(head_dim));
    kvq_cuda_fill_offset_angles(rope_.get(), offsets.data());
    std::vector<float> scale(columns()), zero(columns());
    kvq_cuda_fill_key_scales(&layer.key, scale.data(), zero.data());
    attention.offset_angles = memory_.place(offsets);
    attention.key_scale = memory_.place(scale), attention.key_zero = memory_.place(zero);
    attention.value_mean = memory_.place(layer.mean), attention.value_deviation = memory_.place(layer.deviation);
    attention.out = static_cast<float *>(memory_.allocate(out_count() * 4));
    attention.sequences = static_cast<uint32_t>(shape.sequences.size());
    attention.kv_heads = shape.kv_heads, attention.group = shape.group, attention.head_dim = head_dim, attention.rotary_dim = shape.rotary_dim;
    attention.query_stride = shape.kv_heads * shape.group * head_dim;
    attention.key_outliers = layer.key.outliers, attention.value_outliers = kvq_value_layout(&layer.value).outliers;
    attention.scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(head_dim)));
    if (!kvq_cuda_fill_levels(layer.key.levels, layer.key.bits, attention.key_levels) || !kvq_cuda_fill_levels(layer.value.levels, layer.value.bits, attention.value_levels)) std::abort();
  }

  random_numbers random_;

 public:
  fitted_layer layer;

 private:
  kernel_memory &memory_;
  std::unique_ptr<kvq_rope, rope_deleter> rope_;
  std::vector<uint8_t> scratch_;
  std::shared_ptr<std::vector<host_page>> pages_;
  std::shared_ptr<std::vector<uint16_t>> chunk_; // a full one, where contents repeat
  std::vector<kvq_cuda_page> places_;
  size_t page_bytes_ = 0;
};

}  // namespace kvq_test
