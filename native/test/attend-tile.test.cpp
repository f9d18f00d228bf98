// Prefill attention on every ISA against float64: several tiles, any number of rows, any visible prefix; independence of rows; staging of exact storage. Prints the speed.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "kvquant/attention.h"

namespace {

int failures = 0;
std::mt19937_64 generator(21);

void check(bool good, const char *sentence, double detail = 0) {
  std::printf(good ? "ok %s (%.3g)\n" : "not ok %s: %.9g\n", sentence, detail);
  failures += !good;
}

float random_value() { return float(double(generator() % 20001) / 10000 - 1); }

template <typename Item>
struct aligned {
  Item *data;
  size_t count;
  explicit aligned(size_t n) : data(static_cast<Item *>(std::aligned_alloc(64, (n * sizeof(Item) + 127) / 64 * 64))), count(n) {
    std::memset(static_cast<void *>(data), 0xff, (n * sizeof(Item) + 127) / 64 * 64);  // NaN
  }
  aligned(const aligned &) = delete;
  ~aligned() { std::free(data); }
  bool guarded() const { return reinterpret_cast<const uint8_t *>(data + count)[0] == 0xff; }
};

struct state {
  aligned<float> maximum, total, sum;
  state(uint32_t rows, uint32_t head_dim) : maximum(rows), total(rows), sum(size_t(rows) * head_dim) {
    std::fill_n(maximum.data, rows, -INFINITY);
    std::fill_n(total.data, rows, 0.0f);
    std::fill_n(sum.data, size_t(rows) * head_dim, 0.0f);
  }
  kvq_rows_state view(size_t row, size_t head_dim) { return {maximum.data + row, total.data + row, sum.data + row * head_dim}; }
  bool guarded() const { return maximum.guarded() && total.guarded() && sum.guarded(); }
};

struct problem {
  uint32_t head_dim, rows, tiles;
  std::vector<float> q, keys, values;         // [rows][d], [tiles][d][64], [tiles][64][d]
  std::vector<std::vector<uint8_t>> seen;     // [tiles][rows]
  problem(uint32_t d, uint32_t rows, uint32_t tiles, float spread) : head_dim(d), rows(rows), tiles(tiles), q(size_t(rows) * d), keys(size_t(tiles) * d * 64), values(keys.size()) {
    for (float &x : q) x = random_value() * spread;
    for (float &x : keys) x = random_value();
    for (float &x : values) x = random_value();
    for (uint32_t t = 0; t < tiles; t++) {
      std::vector<uint8_t> s(rows);
      for (uint8_t &n : s) n = generator() % 4 == 0 ? 0 : generator() % 2 ? 64 : 1 + generator() % 64;
      if (t == 0)
        for (uint8_t &n : s) n = std::max<uint8_t>(n, 1);
      seen.push_back(s);
    }
  }
};

// Rows [from, to) of all tiles in calls of `step` rows.
void run(kvq_isa isa, const problem &p, state &s, uint32_t step, bool &guards) {
  aligned<uint8_t> scratch(kvq_tile_scratch(step));
  for (uint32_t t = 0; t < p.tiles; t++)
    for (uint32_t row = 0; row < p.rows; row += step) {
      std::memset(scratch.data, 0xff, scratch.count);
      kvq_attend_tile(isa, p.head_dim, &p.q[size_t(row) * p.head_dim], std::min(step, p.rows - row), &p.keys[size_t(t) * p.head_dim * 64], &p.values[size_t(t) * p.head_dim * 64],
                      &p.seen[t][row], s.view(row, p.head_dim), scratch.data);
      guards = guards && scratch.guarded();
    }
  guards = guards && s.guarded();
}

double error_of(const problem &p, const float *out) {
  double worst = 0;
  for (uint32_t row = 0; row < p.rows; row++) {
    std::vector<double> scores, sum(p.head_dim);
    for (uint32_t t = 0; t < p.tiles; t++)
      for (uint32_t token = 0; token < p.seen[t][row]; token++) {
        double score = 0;
        for (uint32_t c = 0; c < p.head_dim; c++) score += double(p.q[size_t(row) * p.head_dim + c]) * p.keys[(size_t(t) * p.head_dim + c) * 64 + token];
        scores.push_back(score);
      }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    size_t i = 0;
    for (uint32_t t = 0; t < p.tiles; t++)
      for (uint32_t token = 0; token < p.seen[t][row]; token++) {
        const double weight = std::exp2(scores[i++] - largest);
        total += weight;
        for (uint32_t c = 0; c < p.head_dim; c++) sum[c] += weight * p.values[(size_t(t) * 64 + token) * p.head_dim + c];
      }
    for (uint32_t c = 0; c < p.head_dim; c++) {
      const double error = std::fabs(out[size_t(row) * p.head_dim + c] - sum[c] / total);
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

void check_isa(kvq_isa isa) {
  double plain = 0, wide = 0;
  bool same = true, guards = true;
  auto raise = [](double &worst, double error) { worst = !(error <= worst) ? error : worst; };
  for (uint32_t head_dim : {8, 16, 24, 40, 64, 72, 80, 96, 104, 128, 256})
    for (uint32_t rows : {1, 2, 3, 5, 6, 7, 12, 13, 25}) {
      const bool steep = rows == 7 || rows == 25;
      const problem p(head_dim, rows, 1 + generator() % 4, float((steep ? 40 : 4) / std::sqrt(double(head_dim))));
      state all(rows, head_dim), parts(rows, head_dim), single(rows, head_dim);
      run(isa, p, all, rows, guards);
      run(isa, p, parts, 4, guards);
      run(isa, p, single, 1, guards);
      for (const state *other : {&parts, &single})
        same = same && std::memcmp(all.sum.data, other->sum.data, all.sum.count * 4) == 0 && std::memcmp(all.total.data, other->total.data, rows * 4) == 0 &&
               std::memcmp(all.maximum.data, other->maximum.data, rows * 4) == 0;
      aligned<float> out(size_t(rows) * head_dim);
      kvq_finish_rows(head_dim, rows, all.view(0, head_dim), out.data);
      guards = guards && out.guarded();
      raise(steep ? wide : plain, error_of(p, out.data));
    }
  char sentence[160];
  auto name = [&](const char *text) { return std::snprintf(sentence, sizeof sentence, "%s: %s", kvq_isa_name(isa), text), sentence; };
  check(plain < 3e-6, name("attention over tiles within 3e-6 of float64"), plain);
  check(wide < 3e-5, name("within 3e-5 where scores reach 100"), wide);
  check(same, name("a row has the same bits whatever rows are in the call"));
  check(guards, name("writes nothing beyond its outputs and scratch"));
}

// Halves 0 .. 1023 of the form 1.m, so that every place of a page holds a number of its own within a head.
void check_stage(kvq_isa isa) {
  bool good = true;
  for (uint32_t head_dim : {8, 16, 24, 64, 72, 80, 96, 128, 256})
    for (uint32_t tokens : {1, 7, 8, 33, 63, 64}) {
      const uint32_t heads = 2;
      aligned<uint16_t> key(size_t(heads) * head_dim * 64), value(key.count);
      auto bits = [&](uint32_t head, uint32_t channel, uint32_t token, uint32_t salt) { return uint16_t(0x3c00 | ((head * 511 + channel * 67 + token * 5 + salt) & 1023)); };
      for (uint32_t head = 0; head < heads; head++)
        for (uint32_t channel = 0; channel < head_dim; channel++)
          for (uint32_t token = 0; token < 64; token++) {
            const uint32_t panel = channel / 64, width = std::min(64u, head_dim - 64 * panel);
            key.data[(size_t(head) * head_dim + channel) * 64 + token] = bits(head, channel, token, 0);
            value.data[size_t(head) * head_dim * 64 + panel * 4096 + token * width + channel % 64] = bits(head, channel, token, 300);
          }
      const kvq_exact_view view{key.data, value.data, tokens};
      aligned<float> keys(size_t(head_dim) * 64), values(keys.count);
      kvq_stage_exact(isa, head_dim, heads, 1, &view, keys.data, values.data);
      good = good && keys.guarded() && values.guarded();
      for (uint32_t channel = 0; channel < head_dim; channel++)
        for (uint32_t token = 0; token < 64; token++) {
          auto want = [&](uint32_t salt) { return token < tokens ? 1 + float(bits(1, channel, token, salt) & 1023) / 1024 : 0.0f; };
          good = good && keys.data[channel * 64 + token] == want(0) && values.data[token * head_dim + channel] == want(300);
        }
    }
  char sentence[96];
  std::snprintf(sentence, sizeof sentence, "%s: a staged page has its numbers in place and zeros beyond its tokens", kvq_isa_name(isa));
  check(good, sentence);
}

void print_speed(kvq_isa isa) {
  for (uint32_t head_dim : {64, 80, 128, 256})
    for (uint32_t rows : {24, 192}) {
      const problem p(head_dim, rows, 1, 0.1f);
      const std::vector<uint8_t> seen(rows, 64);
      state s(rows, head_dim);
      aligned<uint8_t> scratch(kvq_tile_scratch(rows));
      double best = 1e9;
      for (int trial = 0; trial < 30; trial++) {
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < 4; i++) kvq_attend_tile(isa, head_dim, p.q.data(), rows, p.keys.data(), p.values.data(), seen.data(), s.view(0, head_dim), scratch.data);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 4);
      }
      std::printf("# %s, head dim %u, %u rows: %.1f G multiply-adds a second\n", kvq_isa_name(isa), head_dim, rows, 2.0 * rows * 64 * head_dim / best * 1e-9);
    }
}

}  // namespace

int main() {
  for (kvq_isa isa : {KVQ_ISA_SCALAR, KVQ_ISA_AVX2, KVQ_ISA_AVX512}) {
    if (!kvq_isa_available(isa)) {
      std::printf("# skipped: %s is not available here\n", kvq_isa_name(isa));
      continue;
    }
    check_isa(isa);
    check_stage(isa);
    if (isa != KVQ_ISA_SCALAR) print_speed(isa);
  }
  return failures ? 1 : 0;
}
