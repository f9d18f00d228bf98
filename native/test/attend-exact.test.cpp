// Attention over exact storage on every ISA against float64: layouts, all groups and head dims, partial views, empty parts, wide score ranges; the fp16 rounding of kvq_write_exact.
#include "ops/attend-exact/attend-exact.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace {

int failures = 0;
std::mt19937_64 generator(20);

void check(bool good, const char *sentence, double detail = 0) {
  std::printf(good ? "ok %s (%.3g)\n" : "not ok %s: %.9g\n", sentence, detail);
  failures += !good;
}

// ---- fp16, written independently: exact value of a half, and the half of a number that has one
double value_of(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY) : exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

uint16_t half_with_value(double value) {
  if (value == 0) return 0;
  int exponent;
  const double fraction = std::frexp(std::fabs(value), &exponent);  // 0.5 .. 1
  return uint16_t((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | int(std::ldexp(fraction, 11) - 1024));
}

// Multiples of 1/256 below 4 are fp16 numbers.
double random_value() { return double(int(generator() % 2047) - 1023) / 256; }

template <typename Item>
struct aligned {
  Item *data;
  size_t count;
  explicit aligned(size_t n) : count(n) {
    data = static_cast<Item *>(std::aligned_alloc(64, (n * sizeof(Item) + 127) / 64 * 64));
    std::memset(static_cast<void *>(data), 0xff, (n * sizeof(Item) + 127) / 64 * 64);  // NaN
  }
  aligned(const aligned &) = delete;
  ~aligned() { std::free(data); }
  bool guarded() const { return reinterpret_cast<const uint8_t *>(data + count)[0] == 0xff; }
};

struct sequence {
  uint32_t head_dim, kv_heads;
  std::vector<uint32_t> tokens;                                // of each view
  std::vector<std::vector<double>> key, value;                 // [view][token][kv_heads * head_dim]
  std::vector<std::unique_ptr<aligned<uint16_t>>> key_page, value_page;
  std::vector<kvq_exact_view> views;

  sequence(uint32_t head_dim, uint32_t kv_heads, std::vector<uint32_t> tokens) : head_dim(head_dim), kv_heads(kv_heads), tokens(tokens) {
    const size_t width = size_t(kv_heads) * head_dim;
    for (uint32_t n : tokens) {
      std::vector<double> k(64 * width, 900.0), v(64 * width, -1000.0);  // unused tokens: finite numbers that would be noticed
      for (size_t i = 0; i < n * width; i++) k[i] = random_value(), v[i] = random_value();
      auto kp = std::make_unique<aligned<uint16_t>>(64 * width), vp = std::make_unique<aligned<uint16_t>>(64 * width);
      for (size_t token = 0; token < 64; token++)
        for (size_t head = 0; head < kv_heads; head++)
          for (size_t channel = 0; channel < head_dim; channel++) {
            const size_t from = token * width + head * head_dim + channel, panel = channel / 64, panel_width = std::min<size_t>(64, head_dim - 64 * panel);
            kp->data[(head * head_dim + channel) * 64 + token] = half_with_value(k[from]);
            vp->data[head * head_dim * 64 + panel * 64 * 64 + token * panel_width + channel % 64] = half_with_value(v[from]);
          }
      views.push_back({kp->data, vp->data, n});
      key.push_back(k), value.push_back(v);
      key_page.push_back(std::move(kp)), value_page.push_back(std::move(vp));
    }
  }
};

struct worst_errors {
  double maximum = 0, total = 0, output = 0;
  bool guards = true;
};

void raise(double &worst, double error) {
  if (!(error <= worst)) worst = error;
}

// Attention of one head over the views, in `parts` calls that are merged; errors against float64.
void compare(kvq_isa isa, const sequence &s, uint32_t head, uint32_t group, double spread, size_t parts, worst_errors &worst) {
  const uint32_t d = s.head_dim;
  const float scale = float(1 / std::sqrt(double(d)));
  aligned<float> q(size_t(group) * d), out(size_t(group) * d);
  for (size_t i = 0; i < size_t(group) * d; i++) q.data[i] = float(random_value() * spread);

  std::vector<std::unique_ptr<aligned<float>>> memory;
  std::vector<kvq_partial> partials;
  auto take = [&](size_t n) { return memory.emplace_back(std::make_unique<aligned<float>>(n))->data; };
  for (size_t part = 0; part < parts; part++) {
    const size_t from = s.views.size() * part / parts, to = s.views.size() * (part + 1) / parts;
    partials.push_back({take(group), take(group), take(size_t(group) * d)});
    aligned<uint8_t> scratch(kvq::exact_scratch_bytes(d, group));
    kvq_attend_exact(isa, d, s.kv_heads, head, q.data, group, scale, s.views.data() + from, to - from, partials.back(), scratch.data);
    worst.guards = worst.guards && scratch.guarded();
    if (from == to)
      for (uint32_t g = 0; g < group; g++) worst.guards = worst.guards && partials.back().maximum[g] == -INFINITY && partials.back().total[g] == 0 && partials.back().sum[g * d] == 0;
  }
  kvq_merge_partials(partials.data(), parts, group, d, out.data);
  for (auto &m : memory) worst.guards = worst.guards && m->guarded();
  worst.guards = worst.guards && out.guarded();

  for (uint32_t g = 0; g < group; g++) {
    std::vector<double> scores, sum(d), magnitude(d);
    for (size_t view = 0; view < s.views.size(); view++)
      for (uint32_t token = 0; token < s.tokens[view]; token++) {
        double dot = 0;
        for (uint32_t c = 0; c < d; c++) dot += double(q.data[g * d + c]) * s.key[view][(size_t(token) * s.kv_heads + head) * d + c];
        scores.push_back(dot * scale * 1.4426950408889634074);
      }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    size_t i = 0;
    for (size_t view = 0; view < s.views.size(); view++)
      for (uint32_t token = 0; token < s.tokens[view]; token++, i++) {
        const double weight = std::exp2(scores[i] - largest);
        total += weight;
        for (uint32_t c = 0; c < d; c++) sum[c] += weight * s.value[view][(size_t(token) * s.kv_heads + head) * d + c], magnitude[c] += weight * 4;
      }
    if (parts == 1) {
      raise(worst.maximum, std::fabs(partials[0].maximum[g] - largest) / std::max(1.0, std::fabs(largest)));
      raise(worst.total, std::fabs(partials[0].total[g] / total - 1));
    }
    for (uint32_t c = 0; c < d; c++) raise(worst.output, std::fabs(out.data[g * d + c] - sum[c] / total) / 4);
  }
}

std::vector<uint32_t> random_tokens(size_t views) {
  std::vector<uint32_t> tokens(views, 64);
  for (uint32_t &n : tokens)
    if (generator() % 3 == 0) n = 1 + generator() % 64;
  return tokens;
}

void check_isa(kvq_isa isa) {
  worst_errors plain, wide;
  for (uint32_t head_dim : {8, 16, 24, 40, 64, 72, 80, 96, 104, 128, 256})
    for (size_t views : {1, 2, 7, 8, 9, 17}) {
      const sequence s(head_dim, 1 + generator() % 3, random_tokens(views));
      for (size_t parts : {size_t(1), size_t(3)}) {
        const uint32_t group = 1 + generator() % 9;
        compare(isa, s, generator() % s.kv_heads, group, 0.5, parts, plain);
        compare(isa, s, generator() % s.kv_heads, group, 8, parts, wide);
      }
    }
  for (uint32_t group = 1; group <= 20; group++) {
    const sequence s(group % 2 ? 64 : 80, 2, random_tokens(11));
    compare(isa, s, 1, group, 0.5, 1, plain);
  }
  compare(isa, sequence(64, 1, {1}), 0, 3, 0.5, 1, plain);
  compare(isa, sequence(64, 1, {4, 64, 64, 64, 64, 64, 64, 64, 63}), 0, 4, 0.5, 2, plain);

  char sentence[160];
  auto name = [&](const char *text) { return std::snprintf(sentence, sizeof sentence, "%s: %s", kvq_isa_name(isa), text), sentence; };
  check(plain.maximum < 2e-6, name("maximum within 2e-6 of float64"), plain.maximum);
  check(plain.total < 1e-5, name("total within 1e-5"), plain.total);
  check(plain.output < 5e-6, name("merged output within 5e-6 of the value range"), plain.output);
  check(wide.output < 1e-4, name("merged output within 1e-4 with scores up to several hundred"), wide.output);
  check(plain.guards && wide.guards, name("writes nothing beyond outputs and scratch; an empty part is -infinity, 0, 0"));
}

void check_scratch() {
  size_t short_ones = 0;
  for (uint32_t head_dim = 8; head_dim <= 256; head_dim += 8)
    for (uint32_t group = 1; group <= 64; group++) short_ones += kvq_attention_scratch(head_dim, group) < kvq::exact_scratch_bytes(head_dim, group);
  check(short_ones == 0, "kvq_attention_scratch covers what the exact kernels take, for every head dim and group", double(short_ones));
}

void check_write() {
  bool same = true, guards = true;
  for (uint32_t head_dim : {8, 64, 72, 80, 128, 256}) {
    const sequence s(head_dim, 3, {64});
    const size_t width = 3 * head_dim;
    aligned<uint16_t> key(64 * width), value(64 * width);
    for (uint32_t slot : {63u, 0u, 7u}) {
      std::vector<float> k(s.key[0].begin() + slot * width, s.key[0].begin() + (slot + 1) * width), v(s.value[0].begin() + slot * width, s.value[0].begin() + (slot + 1) * width);
      kvq_write_exact(3, head_dim, k.data(), v.data(), key.data, value.data, slot);
    }
    guards = guards && key.guarded() && value.guarded();
    size_t written = 0;
    for (size_t i = 0; i < 64 * width; i++) {
      if (key.data[i] != 0xffff) same = same && key.data[i] == s.key_page[0]->data[i], written++;
      if (value.data[i] != 0xffff) same = same && value.data[i] == s.value_page[0]->data[i], written++;
    }
    same = same && written == 2 * 3 * width;
  }
  check(same && guards, "a written token lies where the layout says, and nothing else is written");
}

void check_rounding() {
  size_t wrong = 0;
  std::vector<float> inputs(64, 0.0f), zeros(64, 0.0f);
  aligned<uint16_t> key(64 * 64), value(64 * 64);
  auto rounded = [&](float x) {
    inputs[5] = x;
    kvq_write_exact(1, 64, inputs.data(), inputs.data(), key.data, value.data, 9);
    if (key.data[5 * 64 + 9] != value.data[9 * 64 + 5]) wrong++;
    return key.data[5 * 64 + 9];
  };
  for (uint32_t half = 0; half < 65536; half++) {
    const double x = value_of(uint16_t(half));
    if (std::isnan(x)) {
      wrong += !std::isnan(value_of(rounded(NAN)));
      continue;
    }
    if (rounded(float(x)) != half) wrong++;
    if ((half & 0x7fff) >= 0x7bff) continue;
    const double next = value_of(uint16_t(half + 1)), middle = (x + next) / 2;
    const float exact = float(middle);
    if (double(exact) != middle) wrong++;
    if (rounded(exact) != (half & 1 ? half + 1 : half)) wrong++;
    if (rounded(std::nextafterf(exact, float(next))) != half + 1) wrong++;
    if (rounded(std::nextafterf(exact, float(x))) != half) wrong++;
  }
  wrong += rounded(65519.996f) != 0x7bff;
  wrong += rounded(65520.0f) != 0x7c00;
  wrong += rounded(-1e30f) != 0xfc00;
  check(wrong == 0, "fp16 rounding is to nearest even for every half, every midpoint and its neighbours", double(wrong));
}

}  // namespace

int main() {
  for (kvq_isa isa : {KVQ_ISA_SCALAR, KVQ_ISA_AVX2, KVQ_ISA_AVX512})
    if (kvq_isa_available(isa)) check_isa(isa);
    else std::printf("# skipped: %s is not available here\n", kvq_isa_name(isa));
  check_scratch();
  check_write();
  check_rounding();
  return failures ? 1 : 0;
}
