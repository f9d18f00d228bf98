// Rotary angles against long double arithmetic: all tables, positions up to 2^31 with halves and signs, and the time of a call.
#include "kvquant/rope.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <vector>

namespace {

int failures = 0;
size_t last_allocation = 0;

void check(bool good, const char *sentence, double detail = 0) {
  if (good) std::printf("ok %s (%.3g)\n", sentence, detail);
  else std::printf("not ok %s: %.9g\n", sentence, detail), failures++;
}

struct shape {
  uint32_t head_dim, rotary_dim;
  double base;
};

std::vector<double> frequencies(const shape &s) {
  std::vector<double> f(s.rotary_dim / 2);
  for (size_t p = 0; p < f.size(); p++) f[p] = std::pow(s.base, -2.0 * double(p) / s.rotary_dim);
  return f;
}

// Largest error of kvq_rope_at at x over all pairs; guards behind the arrays must survive.
double error_at(const kvq_rope *rope, const std::vector<double> &frequency, double x) {
  const size_t pairs = rope->head_dim / 2;
  std::vector<float> cosine(pairs + 1, NAN), sine(pairs + 1, NAN);
  kvq_rope_at(rope, x, cosine.data(), sine.data());
  double worst = 0;
  for (size_t p = 0; p < pairs; p++) {
    const long double angle = p < frequency.size() ? (long double)x * frequency[p] : 0;
    const double error = std::max(std::fabs((double)(cosine[p] - std::cos(angle))), std::fabs((double)(sine[p] - std::sin(angle))));
    if (!(error <= worst)) worst = error;
  }
  if (!std::isnan(cosine[pairs]) || !std::isnan(sine[pairs])) worst = 9;
  return worst;
}

void check_angles(const shape &s, std::mt19937_64 &random) {
  const auto frequency = frequencies(s);
  kvq_rope *rope = nullptr;
  if (kvq_rope_create(s.head_dim, s.rotary_dim, 1.0f, frequency.data(), &rope) != KVQ_OK) return check(false, "create succeeds");
  double worst = 0;
  auto take = [&](double x) {
    const double error = error_at(rope, frequency, x);
    if (!(error <= worst)) worst = error;
  };
  for (double x = -200; x <= 200; x += 0.5) take(x);
  for (int i = 0; i < 2000; i++) {
    const int bits = 2 + int(random() % 31);
    take((double(random() >> (64 - bits)) * 0.5) * (random() % 2 ? 1 : -1));
  }
  for (double x : {2147483647.0, 2147483647.5, -2147483647.5, 1073741824.0, 10e6 + 0.5, 31.5, 64 * 12345 + 31.5}) take(x);
  char sentence[128];
  std::snprintf(sentence, sizeof sentence, "head dim %u, rotary %u, base %g: angles up to 2^31 within 1e-7 of long double", s.head_dim, s.rotary_dim, s.base);
  check(worst < 1e-7, sentence, worst);

  double tables = 0, fixed = 0;
  for (uint32_t p = 0; p < s.head_dim / 2; p++) {
    const long double f = p < frequency.size() ? frequency[p] : 0;
    auto compare = [&](double got, long double want) { tables = std::max(tables, std::fabs(double(got - want))); };
    compare(rope->page_cos[p], std::cos(64 * f));
    compare(rope->page_sin[p], std::sin(64 * f));
    if (rope->frequency[p] != (double)f) tables = 9;
    for (uint32_t l = 0; l < 32; l++) {
      const long double c = std::cos((l + 0.5L) * f), n = std::sin((l + 0.5L) * f);
      compare(rope->offset_cos[p * 32 + l], c);
      compare(rope->offset_sin[p * 32 + l], n);
      fixed = std::max({fixed, std::fabs(double(rope->offset_fixed[p * 64 + l] - 32767 * c)), std::fabs(double(rope->offset_fixed[p * 64 + 32 + l] - 32767 * n))});
    }
  }
  check(tables < 3.1e-8, "tables are the nearest fp32 numbers", tables);
  check(fixed <= 0.5 + 1e-9 && reinterpret_cast<uintptr_t>(rope->offset_fixed) % 64 == 0, "fixed-point tables are rounded to nearest and aligned", fixed);
  kvq_rope_destroy(rope);
}

void check_apply(std::mt19937_64 &random) {
  const shape s{24, 10, 10000};
  const auto frequency = frequencies(s);
  kvq_rope *rope = nullptr;
  kvq_rope_create(s.head_dim, s.rotary_dim, 1.0f, frequency.data(), &rope);
  const uint32_t heads = 3, half = s.rotary_dim / 2;
  std::vector<float> row(heads * s.head_dim + 1), cosine(12), sine(12);
  for (float &x : row) x = float(double(random() % 20001) / 10000 - 1);
  const auto before = row;
  kvq_rope_at(rope, 777, cosine.data(), sine.data());
  kvq_rope_apply(rope, cosine.data(), sine.data(), 1.25f, row.data(), heads);
  double worst = std::fabs(row.back() - before.back());
  for (uint32_t h = 0; h < heads; h++)
    for (uint32_t c = 0; c < s.head_dim; c++) {
      const float *x = &before[h * s.head_dim];
      long double want = x[c];
      if (c < s.rotary_dim) {
        const long double angle = 777.0L * frequency[c % half];
        want = 1.25L * (c < half ? x[c] * std::cos(angle) - x[c + half] * std::sin(angle) : x[c - half] * std::sin(angle) + x[c] * std::cos(angle));
      }
      worst = std::max(worst, std::fabs(double(row[h * s.head_dim + c] - want)));
    }
  check(worst < 5e-7, "apply rotates half-split pairs with a gain and leaves the other channels alone", worst);
  kvq_rope_destroy(rope);
}

// The struct and its tables are one allocation that starts with the struct.
void check_room() {
  for (uint32_t head_dim : {64u, 128u, 256u, 2u}) {
    kvq_rope *rope = nullptr;
    const double frequency = 1;
    kvq_rope_create(head_dim, 2, 1, &frequency, &rope);
    const auto start = reinterpret_cast<uintptr_t>(rope), last = reinterpret_cast<uintptr_t>(rope->offset_fixed + head_dim * 32 - 1);
    check(last + 4 <= start + last_allocation, "the last fixed-point number can be read as 32 bits", double(head_dim));
    kvq_rope_destroy(rope);
  }
}

void check_arguments() {
  const double good[4] = {1, 0.5, 0.25, 0.125}, bad[4] = {1, std::numeric_limits<double>::infinity(), 1, 1};
  kvq_rope *rope = nullptr;
  const bool refused = kvq_rope_create(7, 4, 1, good, &rope) == KVQ_INVALID_ARGUMENT && kvq_rope_create(8, 3, 1, good, &rope) == KVQ_INVALID_ARGUMENT &&
                       kvq_rope_create(8, 10, 1, good, &rope) == KVQ_INVALID_ARGUMENT && kvq_rope_create(8, 8, 1, bad, &rope) == KVQ_INVALID_ARGUMENT &&
                       kvq_rope_create(0, 0, 1, good, &rope) == KVQ_INVALID_ARGUMENT && kvq_rope_create(8, 8, 1, nullptr, &rope) == KVQ_INVALID_ARGUMENT && rope == nullptr;
  check(refused, "create refuses odd sizes, a rotary part above the head and frequencies that are not finite");
  kvq_rope_destroy(nullptr);
}

void print_time() {
  const auto frequency = frequencies({64, 64, 100000});
  kvq_rope *rope = nullptr;
  kvq_rope_create(64, 64, 1.0f, frequency.data(), &rope);
  float cosine[32], sine[32], sum = 0;
  double best = 1e9;
  for (int trial = 0; trial < 20; trial++) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 2000; i++) kvq_rope_at(rope, 1000 + 64 * i, cosine, sine), sum += cosine[i % 32];
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / 2000);
  }
  std::printf("# kvq_rope_at: %.0f ns for 32 pairs%s\n", best, sum == 12345 ? " " : "");
  kvq_rope_destroy(rope);
}

}  // namespace

void *operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t &) noexcept {
  last_allocation = bytes;
  void *memory = nullptr;
  return posix_memalign(&memory, static_cast<size_t>(alignment), bytes) == 0 ? memory : nullptr;
}
void operator delete(void *memory, std::align_val_t) noexcept { std::free(memory); }

int main() {
  std::mt19937_64 random(1);
  for (const shape &s : {shape{64, 64, 1e5}, {128, 128, 5e5}, {80, 32, 1e4}, {8, 8, 1e4}, {256, 64, 1e6}, {66, 66, 1e4}, {16, 0, 1e4}, {2, 2, 7}}) check_angles(s, random);
  check_apply(random);
  check_room();
  check_arguments();
  print_time();
  return failures ? 1 : 0;
}
