// Speed of the quantized matrix product on one thread: whole dense parts of two models, token by token, in small batches and for a prompt. Results are checked first.
//   matmul.bench [smollm2|qwen|types] [isa] [exact]
// Reported: best of several runs, CPU time; ms a step of all matrices and of each kind, giga multiply-adds a second, GB/s of packed weights.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "kvquant/dense.h"
#include "test/matmul-reference.h"

namespace {

struct shape {
  const char *name;
  size_t rows, cols;
  uint32_t type;
  size_t count; // how many of them the model has
};

struct model {
  const char *name;
  std::vector<shape> shapes;
  size_t prompt;
};

const model models[] = {
    {"smollm2", {{"qkv", 960, 576, KVQ_Q4_1, 30}, {"o", 576, 576, KVQ_Q4_1, 30}, {"gate+up", 3072, 576, KVQ_Q4_1, 30}, {"down", 576, 1536, KVQ_Q4_1, 30}, {"head", 49152, 576, KVQ_Q8_0, 1}}, 512},
    // 4 of 28 layers: one layer's weights do not fit in the caches either.
    {"qwen", {{"qkv", 2048, 1536, KVQ_Q4_K, 4}, {"o", 1536, 1536, KVQ_Q4_K, 4}, {"gate+up", 17920, 1536, KVQ_Q4_K, 4}, {"down", 1536, 8960, KVQ_Q6_K, 4}, {"head", 151936, 1536, KVQ_Q6_K, 1}}, 128},
    {"types", {{"F32", 3072, 768, KVQ_F32, 10}, {"F16", 3072, 768, KVQ_F16, 10}, {"BF16", 3072, 768, KVQ_BF16, 10}, {"Q4_0", 3072, 768, KVQ_Q4_0, 10}, {"Q4_1", 3072, 768, KVQ_Q4_1, 10}, {"Q5_0", 3072, 768, KVQ_Q5_0, 10},
               {"Q5_1", 3072, 768, KVQ_Q5_1, 10}, {"Q8_0", 3072, 768, KVQ_Q8_0, 10}, {"Q4_K", 3072, 768, KVQ_Q4_K, 10}, {"Q5_K", 3072, 768, KVQ_Q5_K, 10}, {"Q6_K", 3072, 768, KVQ_Q6_K, 10}}, 64},
};

// CPU time of this thread, which a busy machine disturbs least.
double seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct loaded {
  shape form;
  std::vector<kvq_matrix *> copies;
  size_t bytes() const { return copies.size() * kvq_matrix_bytes(copies[0]); }
};

// One row of one matrix against float64.
bool check(const loaded &matrix, const std::vector<uint8_t> &file, const float *x, const float *y) {
  const reference::type_info *type = nullptr;
  for (const reference::type_info &candidate : reference::types())
    if (candidate.id == matrix.form.type) type = &candidate;
  const size_t row_bytes = kvq_row_bytes(type->id, matrix.form.cols);
  for (size_t row = 0; row < matrix.form.rows; row += 997) {
    double sum = 0, magnitude = 0;
    for (size_t col = 0; col < matrix.form.cols; col++) {
      const reference::weight w = reference::decode(type->id, &file[row * row_bytes + col / type->values * type->bytes], static_cast<int>(col % type->values));
      sum += w.value() * x[col];
      magnitude += w.magnitude() * std::fabs(x[col]);
    }
    if (!(std::fabs(y[row] - sum) < 0.01 * magnitude)) {
      std::printf("wrong result: %s row %zu: %g, expected %g\n", matrix.form.name, row, y[row], sum);
      return false;
    }
  }
  return true;
}

int run(const model &model, kvq_isa isa, int exact) {
  reference::random_numbers random{42};
  std::vector<loaded> matrices;
  size_t widest = 0, longest = 0;
  std::vector<float> x, y;
  for (const shape &form : model.shapes) widest = std::max(widest, form.cols), longest = std::max(longest, form.rows);
  x.resize(model.prompt * widest);
  y.resize(std::max(model.prompt * size_t{17920}, 8 * longest));
  for (float &value : x) value = static_cast<float>(random.normal());
  kvq_activations *activations = nullptr;
  if (kvq_activations_create(isa, &activations) != KVQ_OK || kvq_activations_reserve(activations, model.prompt, widest) != KVQ_OK) return 1;

  double filling = 0, filled = 0;
  for (const shape &form : model.shapes) {
    const reference::type_info *type = nullptr;
    for (const reference::type_info &candidate : reference::types())
      if (candidate.id == form.type) type = &candidate;
    const std::vector<uint8_t> file = reference::random_blocks(*type, form.rows * form.cols / type->values, random, false);
    loaded matrix{form, {}};
    for (size_t copy = 0; copy < form.count; copy++) {
      kvq_matrix *handle = nullptr;
      if (kvq_matrix_create(isa, form.type, form.rows, form.cols, exact, &handle) != KVQ_OK) return 1;
      const double start = seconds();
      kvq_matrix_fill(handle, file.data(), form.rows, 0, nullptr);
      filling += seconds() - start;
      filled += static_cast<double>(file.size());
      matrix.copies.push_back(handle);
    }
    kvq_activations_begin(activations, x.data(), 3, form.cols, widest);
    kvq_activations_fill(activations, 0, 3);
    kvq_matmul(matrix.copies[0], activations, y.data(), form.rows, 0, kvq_matrix_tiles(matrix.copies[0]));
    if (!check(matrix, file, &x[2 * widest], &y[2 * form.rows])) return 1;
    matrices.push_back(matrix);
  }
  std::printf("%s, %s%s, results checked; load %.2f GB/s\n", model.name, kvq_isa_name(isa), exact ? " exact" : "", filled / filling / 1e9);

  for (const size_t rows : {size_t{1}, size_t{2}, size_t{4}, size_t{8}, model.prompt}) {
    if (isa == KVQ_ISA_SCALAR && rows > 8) continue; // minutes
    // A step goes through the layers in order, so that decoding reads all weights from memory every time.
    std::vector<double> best(matrices.size() + 1, 1e30);
    for (int repeat = 0; repeat < (isa == KVQ_ISA_SCALAR || rows > 8 ? 3 : 25); repeat++) {
      std::vector<double> spent(matrices.size() + 1, 0.0);
      const double begin = seconds();
      for (size_t layer = 0; layer < matrices[0].copies.size(); layer++)
        for (size_t index = 0; index < matrices.size(); index++) {
          const loaded &matrix = matrices[index];
          const bool head = matrix.copies.size() == 1;
          if (head && layer + 1 < matrices[0].copies.size()) continue;
          const size_t used = head && rows == model.prompt ? 1 : rows; // a prompt needs the head for its last token only
          const double start = seconds();
          kvq_activations_begin(activations, x.data(), used, matrix.form.cols, widest);
          kvq_activations_fill(activations, 0, used);
          kvq_matmul(matrix.copies[head ? 0 : layer], activations, y.data(), matrix.form.rows, 0, kvq_matrix_tiles(matrix.copies[0]));
          spent[index] += seconds() - start;
        }
      spent.back() = seconds() - begin;
      for (size_t index = 0; index < best.size(); index++) best[index] = std::min(best[index], spent[index]);
    }
    std::printf("rows %-4zu all %.2f ms", rows, best.back() * 1e3);
    if (rows == model.prompt) std::printf(", %.0f tokens/s", static_cast<double>(rows) / best.back());
    for (size_t index = 0; index < matrices.size(); index++) {
      const loaded &matrix = matrices[index];
      const size_t used = matrix.copies.size() == 1 && rows == model.prompt ? 1 : rows;
      const double products = static_cast<double>(used * matrix.form.rows * matrix.form.cols * matrix.copies.size());
      std::printf(" | %s %.2f ms %.0f G/s %.1f GB/s", matrix.form.name, best[index] * 1e3, products / best[index] / 1e9, static_cast<double>(matrix.bytes()) / best[index] / 1e9);
    }
    std::printf("\n");
  }
  for (const loaded &matrix : matrices)
    for (kvq_matrix *handle : matrix.copies) kvq_matrix_destroy(handle);
  kvq_activations_destroy(activations);
  return 0;
}

}  // namespace

int main(int count, char **arguments) {
  const std::string name = count > 1 ? arguments[1] : "smollm2";
  kvq_isa isa = kvq_isa_best();
  for (int candidate = 0; candidate < KVQ_ISA_COUNT && count > 2; candidate++)
    if (std::strcmp(arguments[2], kvq_isa_name(static_cast<kvq_isa>(candidate))) == 0) isa = static_cast<kvq_isa>(candidate);
  if (!kvq_isa_available(isa)) return 1;
  for (const model &model : models)
    if (name == model.name) return run(model, isa, count > 3 && std::strcmp(arguments[3], "exact") == 0);
  std::printf("unknown model %s\n", name.c_str());
  return 1;
}
