// Quantized matrix products against float64, for every tensor type, instruction set and precision. Weights are decoded by test/matmul-reference.h from the file's bytes,
// activations are quantized here once more. Bounds: 1e-5 of the sum of magnitudes against the product with the same int8 activations (and in fp32), and half an activation step
// times |w| more against the unquantized one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "kvquant/dense.h"
#include "matmul-reference.h"

namespace {

using reference::type_info;

int failures = 0;
void report(bool good, const std::string &sentence, const std::string &details = "") {
  if (!good) failures++;
  std::printf("%s %s%s%s\n", good ? "ok" : "not ok", sentence.c_str(), details.empty() ? "" : ": ", details.c_str());
}

constexpr float poison = std::numeric_limits<float>::quiet_NaN();

std::vector<kvq_isa> available() {
  std::vector<kvq_isa> result;
  for (int isa = 0; isa < KVQ_ISA_COUNT; isa++)
    if (kvq_isa_available(static_cast<kvq_isa>(isa))) result.push_back(static_cast<kvq_isa>(isa));
    else std::printf("# skipped %s: this CPU has none\n", kvq_isa_name(static_cast<kvq_isa>(isa)));
  return result;
}

// Owners, so that a failed check leaks nothing.
struct matrix {
  kvq_matrix *handle = nullptr;
  kvq_status status;
  matrix(kvq_isa isa, uint32_t type, size_t rows, size_t cols, int exact) { status = kvq_matrix_create(isa, type, rows, cols, exact, &handle); }
  matrix(const matrix &) = delete;
  ~matrix() { kvq_matrix_destroy(handle); }
};
struct activations {
  kvq_activations *handle = nullptr;
  explicit activations(kvq_isa isa) { kvq_activations_create(isa, &handle); }
  activations(const activations &) = delete;
  ~activations() { kvq_activations_destroy(handle); }
  void prepare(const float *x, size_t rows, size_t cols, size_t stride) {
    if (kvq_activations_reserve(handle, rows, cols) != KVQ_OK) std::abort();
    kvq_activations_begin(handle, x, rows, cols, stride);
    kvq_activations_fill(handle, 0, rows);
  }
};

struct problem {
  const type_info &type;
  size_t rows, cols, x_rows, x_stride;
  std::vector<uint8_t> bytes;
  std::vector<float> x;
  size_t row_bytes() const { return cols / type.values * type.bytes; }
};

problem make_problem(const type_info &type, size_t rows, size_t cols, size_t x_rows, uint64_t seed, bool any_half = false) {
  reference::random_numbers random{seed * 0x9E3779B97F4A7C15ull + 1};
  problem p{type, rows, cols, x_rows, cols + 5, reference::random_blocks(type, rows * cols / type.values, random, any_half), {}};
  p.x.assign(x_rows * p.x_stride, poison); // the gaps between rows must not be read
  for (size_t row = 0; row < x_rows; row++)
    for (size_t col = 0; col < cols; col++) {
      const double magnitude = col % 41 == 7 ? 20 : col / 32 % 5 == 3 ? 1e-3 : 1; // outliers, and quiet blocks
      p.x[row * p.x_stride + col] = col / 32 % 7 == 6 ? 0.0f : static_cast<float>(magnitude * random.normal());
    }
  return p;
}

struct truth {
  double plain, rounded;      // with fp32 and with int8 activations
  double magnitude;           // sum of |weight parts| * |x|, the larger of the two
  double rounding;            // bound of |plain - rounded|
};

std::vector<truth> solve(const problem &p) {
  std::vector<truth> result(p.x_rows * p.rows);
  std::vector<reference::weight> weights(p.rows * p.cols);
  for (size_t row = 0; row < p.rows; row++)
    for (size_t col = 0; col < p.cols; col++)
      weights[row * p.cols + col] = reference::decode(p.type.id, &p.bytes[row * p.row_bytes() + col / p.type.values * p.type.bytes], static_cast<int>(col % p.type.values));
  for (size_t m = 0; m < p.x_rows; m++) {
    const float *x = &p.x[m * p.x_stride];
    std::vector<double> rounded(p.cols), step(p.cols);
    for (size_t block = 0; block < p.cols; block += 32) {
      const size_t end = std::min(block + 32, p.cols);
      float top = 0;
      for (size_t col = block; col < end; col++) top = std::max(top, std::fabs(x[col]));
      for (size_t col = block; col < end; col++) {
        step[col] = static_cast<double>(top) / 127;
        rounded[col] = top > 0 ? std::nearbyint(x[col] * (127.0f / top)) * static_cast<double>(top / 127.0f) : 0;
      }
    }
    for (size_t n = 0; n < p.rows; n++) {
      truth &t = result[m * p.rows + n];
      for (size_t col = 0; col < p.cols; col++) {
        const reference::weight &w = weights[n * p.cols + col];
        t.plain += w.value() * x[col];
        t.rounded += w.value() * rounded[col];
        t.magnitude += w.magnitude() * std::max(std::fabs(static_cast<double>(x[col])), std::fabs(rounded[col]));
        t.rounding += std::fabs(w.value()) * step[col] * 0.50001;
      }
    }
  }
  return result;
}

// y [x_rows][stride], and 16 numbers that a kernel without masks would reach; everything outside the rows' results stays poisoned.
std::vector<float> product(kvq_isa isa, const problem &p, int exact, size_t stride, size_t x_rows) {
  matrix weights(isa, p.type.id, p.rows, p.cols, exact);
  if (weights.status != KVQ_OK || kvq_matrix_fill(weights.handle, p.bytes.data(), p.rows, 0, nullptr) != KVQ_OK) return {};
  activations x(isa);
  x.prepare(p.x.data(), x_rows, p.cols, p.x_stride);
  std::vector<float> y(x_rows * stride + 16, poison);
  kvq_matmul(weights.handle, x.handle, y.data(), stride, 0, kvq_matrix_tiles(weights.handle));
  return y;
}

bool same(float a, float b) { return std::memcmp(&a, &b, 4) == 0; }

std::vector<size_t> columns_of(const type_info &type) {
  if (type.values == 256) return {256, 768};
  if (type.values == 32) return {32, 96, 576};
  return {1, 31, 64, 97};
}

void check_types(const std::vector<kvq_isa> &isas) {
  for (const type_info &type : reference::types()) {
    std::string details;
    double worst = 0, worst_exact = 0;
    for (const size_t cols : columns_of(type))
      for (const size_t rows : {1, 15, 16, 17, 48}) {
        const problem p = make_problem(type, rows, cols, 9, cols * 64 + rows);
        const std::vector<truth> expected = solve(p);
        std::vector<float> first;
        for (const kvq_isa isa : isas)
          for (int exact = type.values == 1; exact < 2; exact++) {
            const size_t stride = rows + 3;
            const std::vector<float> y = product(isa, p, exact, stride, p.x_rows);
            const std::string where = std::string(kvq_isa_name(isa)) + (exact ? " exact" : " int8") + " rows " + std::to_string(rows) + " cols " + std::to_string(cols);
            if (y.empty()) {
              details = where + " gave no result";
              continue;
            }
            if (!exact && first.empty()) first = y;
            for (size_t index = p.x_rows * stride; index < y.size(); index++)
              if (!same(y[index], poison)) details = where + " wrote beyond its rows";
            for (size_t m = 0; m < p.x_rows; m++)
              for (size_t n = 0; n < stride; n++) {
                const float got = y[m * stride + n];
                if (n >= rows) {
                  if (!same(got, poison)) details = where + " wrote beyond its rows";
                  continue;
                }
                const truth &t = expected[m * rows + n];
                const double error = std::fabs(got - (exact ? t.plain : t.rounded)) / (t.magnitude + 1e-300);
                if (!(error < 1e-5)) details = where + " row " + std::to_string(m) + "," + std::to_string(n) + " error " + std::to_string(error);
                if (!(std::fabs(got - t.plain) <= 1e-5 * t.magnitude + (exact ? 0 : t.rounding))) details = where + " beyond the rounding of activations";
                if (!exact && !same(got, first[m * stride + n])) details = where + " differs from the scalar bits";
                (exact ? worst_exact : worst) = std::max(exact ? worst_exact : worst, error);
              }
          }
      }
    char figures[96];
    std::snprintf(figures, sizeof figures, " (largest error int8 %.1e, fp32 %.1e of the sum of magnitudes)", worst, worst_exact);
    report(details.empty(), std::string(type.name) + " products agree with float64" + figures, details);
  }
}

// Largest and smallest codes against largest activations of one sign: where 16-bit sums would saturate.
void check_extremes(const std::vector<kvq_isa> &isas) {
  std::string details;
  for (const type_info &type : reference::types()) {
    if (type.values == 1) continue;
    for (const int fill : {0xff, 0x80, 0x7f, 0x00})
      for (const int signs : {0, 1, 2}) {
        problem p = make_problem(type, 16, 256, 9, 77);
        const std::vector<uint8_t> scales = p.bytes;
        std::fill(p.bytes.begin(), p.bytes.end(), static_cast<uint8_t>(fill));
        for (size_t block = 0; block < p.bytes.size(); block += type.bytes)
          for (const size_t at : type.halves) std::memcpy(&p.bytes[block + at], &scales[block + at], 2);
        for (size_t index = 0; index < p.x.size(); index++) p.x[index] = signs == 0 || (signs == 2 && index % 2) ? 1.5f : -1.5f;
        const std::vector<truth> expected = solve(p);
        for (const kvq_isa isa : isas) {
          const std::vector<float> y = product(isa, p, 0, 16, 9);
          for (size_t index = 0; index < expected.size(); index++)
            if (!(std::fabs(y[index] - expected[index].rounded) <= 1e-5 * expected[index].magnitude)) details = std::string(kvq_isa_name(isa)) + " " + type.name + " bytes " + std::to_string(fill);
        }
      }
  }
  report(details.empty(), "largest codes times largest activations do not overflow", details);
}

void check_row_counts(const std::vector<kvq_isa> &isas) {
  std::string details;
  for (const type_info &type : reference::types())
    for (const kvq_isa isa : isas)
      for (int exact = 0; exact < 2; exact++) {
        const size_t cols = type.values == 1 ? 65 : 256 * 3, rows = 37;
        const problem p = make_problem(type, rows, cols, 17, 99);
        const std::vector<float> all = product(isa, p, exact, rows, 17);
        for (size_t x_rows = 1; x_rows <= 17; x_rows = x_rows == 9 ? 17 : x_rows + 1) {
          const std::vector<float> some = product(isa, p, exact, rows, x_rows);
          for (size_t index = 0; index < x_rows * rows; index++)
            if (!same(some[index], all[index])) details = std::string(kvq_isa_name(isa)) + " " + type.name + (exact ? " exact" : "") + " with " + std::to_string(x_rows) + " rows";
        }
        // One tile after another, and activations prepared in pieces, as threads would.
        matrix weights(isa, type.id, rows, cols, exact);
        kvq_matrix_fill(weights.handle, p.bytes.data(), rows, 0, nullptr);
        activations x(isa);
        kvq_activations_reserve(x.handle, 17, cols);
        kvq_activations_begin(x.handle, p.x.data(), 17, cols, p.x_stride);
        for (const size_t from : {11, 0, 5}) kvq_activations_fill(x.handle, from, from == 5 ? 6 : from == 11 ? 6 : 5);
        std::vector<float> y(17 * rows, poison);
        std::thread other([&] { kvq_matmul(weights.handle, x.handle, y.data(), rows, 2, 1); });
        for (size_t tile = 2; tile-- > 0;) kvq_matmul(weights.handle, x.handle, y.data(), rows, tile, 1);
        other.join();
        for (size_t index = 0; index < 17 * rows; index++)
          if (!same(y[index], all[index])) details = std::string(kvq_isa_name(isa)) + " " + type.name + " tile by tile on two threads";
      }
  report(details.empty(), "a result depends on its activation row and weight row alone, bit for bit: 1 to 9 and 17 rows, any tile range and two threads", details);
}

void check_bytes(const std::vector<kvq_isa> &isas) {
  for (const type_info &type : reference::types()) {
    std::string details;
    for (const kvq_isa isa : isas)
      for (const size_t cols : columns_of(type))
        for (const size_t rows : {1, 15, 16, 17, 48}) {
          const problem p = make_problem(type, rows, cols, 0, rows + cols, true);
          if (kvq_row_bytes(type.id, cols) != p.row_bytes()) details = "kvq_row_bytes";
          matrix weights(isa, type.id, rows, cols, 0);
          // In two calls, with a permutation: row i of the file becomes row (i * 7 + 3) % rows where that is one.
          const bool permute = rows % 7 != 0;
          std::vector<uint32_t> target(rows);
          for (size_t row = 0; row < rows; row++) target[row] = static_cast<uint32_t>(permute ? (row * 7 + 3) % rows : row);
          const size_t part = rows / 2;
          kvq_matrix_fill(weights.handle, p.bytes.data(), part, 0, permute ? target.data() : nullptr);
          kvq_matrix_fill(weights.handle, p.bytes.data() + part * p.row_bytes(), rows - part, part, permute ? target.data() + part : nullptr);
          std::vector<uint8_t> back(p.row_bytes() + 1);
          for (size_t row = 0; row < rows; row++) {
            std::fill(back.begin(), back.end(), 0xA5);
            if (kvq_matrix_read(weights.handle, target[row], back.data()) != KVQ_OK || std::memcmp(back.data(), &p.bytes[row * p.row_bytes()], p.row_bytes()) != 0 || back.back() != 0xA5)
              details = std::string(kvq_isa_name(isa)) + " rows " + std::to_string(rows) + " cols " + std::to_string(cols) + " row " + std::to_string(row);
          }
        }
    // Also one that comes in pages of its own.
    const problem p = make_problem(type, 1024, 1024, 0, 6);
    matrix large(KVQ_ISA_SCALAR, type.id, 1024, 1024, 0);
    std::vector<uint8_t> last(p.row_bytes());
    if (kvq_matrix_fill(large.handle, p.bytes.data(), 1024, 0, nullptr) != KVQ_OK || kvq_matrix_read(large.handle, 1023, last.data()) != KVQ_OK || std::memcmp(last.data(), &p.bytes[1023 * p.row_bytes()], last.size()) != 0)
      details = "the large matrix";
    const double ratio = static_cast<double>(kvq_matrix_bytes(large.handle)) / static_cast<double>(1024 * kvq_row_bytes(type.id, 1024));
    if (ratio > 1.04) details = "memory " + std::to_string(ratio);
    char figures[64];
    std::snprintf(figures, sizeof figures, " (memory %.4f of the file)", ratio);
    report(details.empty(), std::string(type.name) + " rows come back bit for bit" + figures, details);
  }
}

void check_permutation(const std::vector<kvq_isa> &isas) {
  std::string details;
  for (const type_info &type : reference::types())
    for (const kvq_isa isa : isas) {
      const problem p = make_problem(type, 128, 256, 3, 5);
      const std::vector<float> straight = product(isa, p, 0, 128, 3);
      std::vector<uint32_t> target(128);
      for (uint32_t row = 0; row < 128; row++) target[row] = row / 64 * 64 + row % 2 * 32 + row % 64 / 2; // two heads of 64, neighbours to halves
      matrix weights(isa, type.id, 128, 256, 0);
      kvq_matrix_fill(weights.handle, p.bytes.data(), 128, 0, target.data());
      activations x(isa);
      x.prepare(p.x.data(), 3, 256, p.x_stride);
      std::vector<float> y(3 * 128, poison);
      kvq_matmul(weights.handle, x.handle, y.data(), 128, 0, 8);
      for (size_t m = 0; m < 3; m++)
        for (size_t row = 0; row < 128; row++)
          if (!same(y[m * 128 + target[row]], straight[m * 128 + row])) details = std::string(kvq_isa_name(isa)) + " " + type.name;
    }
  report(details.empty(), "rows filled with a permutation answer in their new places", details);
}

void check_special_activations(const std::vector<kvq_isa> &isas) {
  std::string details;
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const type_info &type : reference::types())
    for (const kvq_isa isa : isas)
      for (int exact = 0; exact < 2; exact++) {
        problem p = make_problem(type, 20, 256, 12, 3);
        const std::vector<float> clean = product(isa, p, exact, 20, 12);
        float *x = p.x.data();
        x[1 * p.x_stride + 40] = nan;
        x[4 * p.x_stride + 255] = -nan;
        x[5 * p.x_stride + 0] = -infinity;
        for (size_t col = 0; col < 256; col++) x[7 * p.x_stride + col] = col % 2 ? -0.0f : 0.0f;
        for (size_t col = 0; col < 256; col++) x[9 * p.x_stride + col] = 1e-39f;
        for (size_t col = 0; col < 256; col++) x[10 * p.x_stride + col] *= 0x1p100f;
        const std::vector<float> y = product(isa, p, exact, 20, 12);
        for (size_t m = 0; m < 12; m++)
          for (size_t n = 0; n < 20; n++) {
            const float got = y[m * 20 + n];
            const bool good = m == 1 || m == 4 ? std::isnan(got) : m == 5 ? !std::isfinite(got) : m == 7 ? got == 0 : m == 9 ? std::fabs(got) < 1e-28f : m == 10 ? !std::isnan(got) : same(got, clean[m * 20 + n]);
            if (!good) details = std::string(kvq_isa_name(isa)) + " " + type.name + (exact ? " exact row " : " row ") + std::to_string(m);
          }
      }
  report(details.empty(), "NaN and infinite activations stay in their row, zeros and subnormal numbers give zeros", details);
}

void check_arguments() {
  std::string details;
  const auto status = [](uint32_t type, size_t rows, size_t cols) { return matrix(KVQ_ISA_SCALAR, type, rows, cols, 0).status; };
  if (status(4, 16, 256) != KVQ_UNSUPPORTED || status(10, 16, 256) != KVQ_UNSUPPORTED || status(99, 1, 1) != KVQ_UNSUPPORTED) details = "unknown types";
  if (status(KVQ_Q4_1, 16, 33) != KVQ_UNSUPPORTED || status(KVQ_Q4_K, 16, 32) != KVQ_UNSUPPORTED || status(KVQ_Q6_K, 16, 128) != KVQ_UNSUPPORTED) details = "partial blocks";
  if (status(KVQ_F32, 0, 16) != KVQ_INVALID_ARGUMENT || status(KVQ_F32, 16, 0) != KVQ_INVALID_ARGUMENT) details = "empty matrices";
  if (status(KVQ_F32, SIZE_MAX / 4, 1024) != KVQ_OUT_OF_CAPACITY || status(KVQ_Q8_0, 1024, SIZE_MAX / 32 * 32 - 31 * 32) != KVQ_OUT_OF_CAPACITY) details = "sizes beyond memory";
  if (kvq_row_bytes(KVQ_Q4_1, 31) != 0 || kvq_row_bytes(5, 32) != 0 || kvq_row_bytes(KVQ_Q6_K, 512) != 420 || kvq_row_bytes(KVQ_F32, SIZE_MAX / 2) != 0) details = "kvq_row_bytes";
  matrix weights(KVQ_ISA_SCALAR, KVQ_Q8_0, 17, 32, 0);
  const std::vector<uint8_t> bytes(18 * 34, 1);
  kvq_matrix_fill(weights.handle, std::vector<uint8_t>(17 * 34, 7).data(), 17, 0, nullptr);
  const uint32_t outside[] = {0, 17};
  if (kvq_matrix_fill(weights.handle, bytes.data(), 18, 0, nullptr) != KVQ_INVALID_ARGUMENT || kvq_matrix_fill(weights.handle, bytes.data(), 1, 17, nullptr) != KVQ_INVALID_ARGUMENT ||
      kvq_matrix_fill(weights.handle, bytes.data(), 2, SIZE_MAX, nullptr) != KVQ_INVALID_ARGUMENT || kvq_matrix_fill(weights.handle, bytes.data(), 2, 0, outside) != KVQ_INVALID_ARGUMENT)
    details = "rows outside";
  std::vector<uint8_t> row(34, 0xA5);
  if (kvq_matrix_read(weights.handle, 17, row.data()) != KVQ_INVALID_ARGUMENT || kvq_matrix_read(weights.handle, 0, row.data()) != KVQ_OK || row != std::vector<uint8_t>(34, 7)) details = "a refused fill changed the matrix";
  activations x(KVQ_ISA_SCALAR);
  if (kvq_activations_reserve(x.handle, SIZE_MAX / 64, 1 << 20) != KVQ_OUT_OF_CAPACITY || kvq_activations_reserve(x.handle, 3, 100) != KVQ_OK) details = "kvq_activations_reserve";
  report(details.empty(), "wrong types, sizes and rows are refused and change nothing", details);
}

}  // namespace

int main() {
  const std::vector<kvq_isa> isas = available();
  check_types(isas);
  check_extremes(isas);
  check_row_counts(isas);
  check_bytes(isas);
  check_permutation(isas);
  check_special_activations(isas);
  check_arguments();
  return failures ? 1 : 0;
}
