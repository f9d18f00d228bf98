// Any tensor bytes and any activations: packing returns the bytes, products stay inside their memory, and the int8 results of all instruction sets are the same.
// Input: type, rows, blocks a row, activation rows, exact; then activations and file bytes, zeros when there are too few. Build with -fsanitize=fuzzer,address,undefined.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kvquant/dense.h"

namespace {

struct input {
  const uint8_t *data;
  size_t size;
  uint8_t byte() { return size ? size--, *data++ : 0; }
  void read(void *out, size_t bytes) {
    const size_t given = bytes < size ? bytes : size;
    std::memset(out, 0, bytes);
    if (given) std::memcpy(out, data, given);
    data += given;
    size -= given;
  }
};

void require(bool holds, const char *what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr uint32_t types[] = {KVQ_F32, KVQ_F16, KVQ_BF16, KVQ_Q4_0, KVQ_Q4_1, KVQ_Q5_0, KVQ_Q5_1, KVQ_Q8_0, KVQ_Q4_K, KVQ_Q5_K, KVQ_Q6_K};
  input in{data, size};
  const uint32_t type = types[in.byte() % 11];
  const size_t rows = in.byte() % 40 + 1;
  size_t block = 1; // values of a block: 1, 32 or 256
  while (kvq_row_bytes(type, block) == 0) block *= 2;
  const size_t cols = block * (in.byte() % (block == 1 ? 100 : 4) + 1);
  const size_t x_rows = in.byte() % 12 + 1, row_bytes = kvq_row_bytes(type, cols);
  const int exact = in.byte() & 1;

  // Exact sizes on the heap, so that a step outside is seen.
  const std::unique_ptr<float[]> x(new float[x_rows * cols]);
  const std::unique_ptr<uint8_t[]> file(new uint8_t[rows * row_bytes]), back(new uint8_t[row_bytes]);
  in.read(x.get(), x_rows * cols * sizeof(float));
  in.read(file.get(), rows * row_bytes);

  std::vector<float> first;
  for (int isa = 0; isa < KVQ_ISA_COUNT; isa++) {
    if (!kvq_isa_available(static_cast<kvq_isa>(isa))) continue;
    kvq_matrix *matrix = nullptr;
    kvq_activations *activations = nullptr;
    require(kvq_matrix_create(static_cast<kvq_isa>(isa), type, rows, cols, exact, &matrix) == KVQ_OK, "create");
    require(kvq_matrix_fill(matrix, file.get(), rows, 0, nullptr) == KVQ_OK, "fill");
    for (size_t row = 0; row < rows; row++) {
      require(kvq_matrix_read(matrix, row, back.get()) == KVQ_OK, "read");
      require(std::memcmp(back.get(), &file[row * row_bytes], row_bytes) == 0, "rows come back bit for bit");
    }
    require(kvq_activations_create(static_cast<kvq_isa>(isa), &activations) == KVQ_OK && kvq_activations_reserve(activations, x_rows, cols) == KVQ_OK, "activations");
    kvq_activations_begin(activations, x.get(), x_rows, cols, cols);
    kvq_activations_fill(activations, 0, x_rows);
    const std::unique_ptr<float[]> y(new float[x_rows * rows]);
    kvq_matmul(matrix, activations, y.get(), rows, 0, kvq_matrix_tiles(matrix));
    if (!exact && block > 1) {
      if (first.empty()) first.assign(y.get(), y.get() + x_rows * rows);
      for (size_t index = 0; index < x_rows * rows; index++)
        require((std::isnan(y[index]) && std::isnan(first[index])) || std::memcmp(&y[index], &first[index], 4) == 0, "int8 results agree");
    }
    kvq_activations_destroy(activations);
    kvq_matrix_destroy(matrix);
  }
  return 0;
}
