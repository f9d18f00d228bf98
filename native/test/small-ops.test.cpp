// RMS norm, gated activation and sums on every ISA against float64: odd widths, strides, in-place use, extreme gates; rows independent of each other.
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kvquant/dense.h"

namespace {

int failures = 0;
std::mt19937_64 generator(22);
constexpr size_t widths[] = {1, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 576, 960, 4099};

void check(kvq_isa isa, bool good, const char *sentence, double detail = 0) {
  std::printf(good ? "ok %s: %s (%.3g)\n" : "not ok %s: %s: %.9g\n", kvq_isa_name(isa), sentence, detail);
  failures += !good;
}

float random_value() { return float(double(generator() % 200001) / 50000 - 2); }

std::vector<float> random_values(size_t count) {
  std::vector<float> x(count);
  for (float &v : x) v = random_value();
  return x;
}

void raise(double &worst, double error) {
  if (!(error <= worst)) worst = error;
}

double relative(double got, double want) { return std::fabs(got - want) / std::fmax(std::fabs(want), FLT_MIN); }

void check_norm(kvq_isa isa) {
  double worst = 0;
  bool same = true, guards = true;
  for (size_t width : widths) {
    const size_t rows = 3, x_stride = width + 5, y_stride = width + 2;
    std::vector<float> x = random_values(rows * x_stride);
    for (size_t i = 0; i < width; i++) x[x_stride + i] *= 1e-4f;  // epsilon matters
    const std::vector<float> weight = random_values(width);
    std::vector<float> y(rows * y_stride, NAN), single(width, NAN);
    kvq_rms_norm(isa, x.data(), weight.data(), 1e-5f, rows, width, x_stride, y_stride, y.data());
    for (size_t row = 0; row < rows; row++) {
      double squares = 0;
      for (size_t i = 0; i < width; i++) squares += double(x[row * x_stride + i]) * x[row * x_stride + i];
      for (size_t i = 0; i < width; i++) raise(worst, relative(y[row * y_stride + i], x[row * x_stride + i] / std::sqrt(squares / double(width) + double(1e-5f)) * weight[i]));
      guards = guards && std::isnan(y[row * y_stride + width]) && std::isnan(y[row * y_stride + width + 1]);
      kvq_rms_norm(isa, &x[row * x_stride], weight.data(), 1e-5f, 1, width, width, width, single.data());
      same = same && std::memcmp(single.data(), &y[row * y_stride], width * 4) == 0;
    }
    std::vector<float> place = x;
    kvq_rms_norm(isa, place.data(), weight.data(), 1e-5f, rows, width, x_stride, x_stride, place.data());
    for (size_t row = 0; row < rows; row++) {
      same = same && std::memcmp(&place[row * x_stride], &y[row * y_stride], width * 4) == 0;
      guards = guards && std::memcmp(&place[row * x_stride + width], &x[row * x_stride + width], 5 * 4) == 0;
    }
  }
  check(isa, worst < 1e-6, "rms norm within 1e-6 of float64", worst);
  check(isa, same, "rms norm of a row has the same bits alone, among others and in place");
  check(isa, guards, "rms norm leaves what lies between rows alone");
}

void check_swiglu(kvq_isa isa) {
  double worst = 0, small = 0;
  auto compare = [&](const std::vector<float> &gate_up, size_t rows, size_t width) {
    std::vector<float> out(rows * width + 1, NAN);
    kvq_swiglu(isa, gate_up.data(), rows, width, out.data());
    for (size_t row = 0; row < rows; row++)
      for (size_t i = 0; i < width; i++) {
        const double gate = gate_up[2 * row * width + i], up = gate_up[(2 * row + 1) * width + i], silu = gate / (1 + std::exp(-gate));
        if (std::fabs(silu) >= FLT_MIN) raise(worst, relative(out[row * width + i], silu * up));
        else raise(small, std::fabs(out[row * width + i] - silu * up));
      }
    if (!std::isnan(out[rows * width])) worst = 9;
  };
  for (size_t width : widths) {
    std::vector<float> gate_up = random_values(6 * width);
    for (float &x : gate_up) x *= generator() % 4 == 0 ? 40 : 4;
    compare(gate_up, 3, width);
  }
  std::vector<float> sweep;
  for (double x = -130; x <= 130; x += 0.0137) sweep.push_back(float(x));
  for (float x : {0.0f, -0.0f, 1e-30f, -1e-30f, 3e38f, -3e38f, 1000.0f, -1000.0f, -87.34f, -88.7f, -91.0f, -103.0f}) sweep.push_back(x);
  const size_t width = sweep.size();
  sweep.resize(2 * width, 1.0f);
  compare(sweep, 1, width);
  check(isa, worst < 1e-6, "swiglu within 1e-6 relative of float64 for every result that is a normal number", worst);
  check(isa, small < 1e-37, "swiglu is next to nothing below that", small);
}

void check_sums(kvq_isa isa) {
  bool good = true;
  for (size_t width : widths) {
    const size_t rows = 3, stride = width + 3;
    const std::vector<float> x = random_values(rows * stride), y = random_values(rows * stride);
    std::vector<float> sum = x, biased = x;
    kvq_add(isa, sum.data(), y.data(), rows * stride - 1);
    kvq_add_bias(isa, biased.data(), y.data(), rows, width, stride);
    for (size_t i = 0; i < rows * stride; i++) {
      good = good && sum[i] == (i + 1 < rows * stride ? x[i] + y[i] : x[i]);
      good = good && biased[i] == (i % stride < width ? x[i] + y[i % stride] : x[i]);
    }
  }
  kvq_add(isa, nullptr, nullptr, 0);
  check(isa, good, "sums are the fp32 sums, and nothing else is touched");
}

}  // namespace

int main() {
  for (kvq_isa isa : {KVQ_ISA_SCALAR, KVQ_ISA_AVX2, KVQ_ISA_AVX512}) {
    if (!kvq_isa_available(isa)) {
      std::printf("# skipped: %s is not available here\n", kvq_isa_name(isa));
      continue;
    }
    check_norm(isa);
    check_swiglu(isa);
    check_sums(isa);
  }
  return failures ? 1 : 0;
}
