/* Quantized matrix products and the small operations of a transformer layer. */
#ifndef KVQUANT_DENSE_H
#define KVQUANT_DENSE_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensor types, numbered as in GGUF files (ggml specification). */
typedef enum kvq_type {
  KVQ_F32 = 0, KVQ_F16 = 1, KVQ_Q4_0 = 2, KVQ_Q4_1 = 3, KVQ_Q5_0 = 6, KVQ_Q5_1 = 7, KVQ_Q8_0 = 8, KVQ_Q4_K = 12, KVQ_Q5_K = 13, KVQ_Q6_K = 14, KVQ_BF16 = 30
} kvq_type;

/* Bytes of `cols` values of a row in the file; 0 when the type is unknown or `cols` is no whole number of blocks. */
size_t kvq_row_bytes(uint32_t type, size_t cols);

/* A weight matrix [rows, cols], repacked without loss into tiles of 16 rows for one ISA. Immutable once filled. cols: a multiple of 32 for quantized types, of 256 for K types, any for floats. */
typedef struct kvq_matrix kvq_matrix;

/* Allocates an empty matrix. `exact` = 1 keeps fp32 activations for quantized types too (weights decoded to fp32 on the fly), for layers that need it.
   UNSUPPORTED naming nothing (the caller knows type and cols), OUT_OF_CAPACITY. Rows that were not filled are zero. */
kvq_status kvq_matrix_create(kvq_isa isa, uint32_t type, size_t rows, size_t cols, int exact, kvq_matrix **out);
void kvq_matrix_destroy(kvq_matrix *matrix);
size_t kvq_matrix_bytes(const kvq_matrix *matrix);
/* What it was made with, and the bytes that a row of it has in the file. */
typedef struct kvq_matrix_shape {
  size_t rows, cols, row_bytes;
} kvq_matrix_shape;
kvq_matrix_shape kvq_matrix_shape_of(const kvq_matrix *matrix);
/* Copies `count` rows from file bytes (kvq_row_bytes each, one after another); source row i becomes row target[i], or first + i when target is NULL.
   May run on several threads for different 16-row tiles. INVALID_ARGUMENT for a row outside. */
kvq_status kvq_matrix_fill(kvq_matrix *matrix, const uint8_t *bytes, size_t count, size_t first, const uint32_t *target);
/* The inverse, for tests: the file bytes of row `row`, bit for bit. */
kvq_status kvq_matrix_read(const kvq_matrix *matrix, size_t row, uint8_t *bytes);
/* Name of the code path, such as "avx512-vnni 4-bit"; static storage. */
const char *kvq_matrix_path(const kvq_matrix *matrix);

/* Activations prepared for products: fp32 rows, and their int8 form in blocks of 32 with scale and scaled sum. Reused from call to call. */
typedef struct kvq_activations kvq_activations;
kvq_status kvq_activations_create(kvq_isa isa, kvq_activations **out);
void kvq_activations_destroy(kvq_activations *activations);
/* Makes room for [rows, cols]. OUT_OF_CAPACITY leaves it as it was. */
kvq_status kvq_activations_reserve(kvq_activations *activations, size_t rows, size_t cols);
/* Prepares rows first .. first+count-1 of x [rows, cols] (row r starts at x + r * stride; x stays borrowed for exact and float matrices). Rows may be prepared on several threads after one
   kvq_activations_begin. Quantization of a row depends on that row alone: 32 values share the scale max |x| / 127; a value that is
   not finite makes the results of its row NaN, or infinite in fp32. */
void kvq_activations_begin(kvq_activations *activations, const float *x, size_t rows, size_t cols, size_t stride);
void kvq_activations_fill(kvq_activations *activations, size_t first, size_t count);

/* Tiles of 16 rows. */
size_t kvq_matrix_tiles(const kvq_matrix *matrix);
/* y[r * stride + n] = sum_k x[r, k] * w[n, k] for all activation rows r and the rows n of tiles first .. first+count-1 (n < rows). A result depends on its activation row and weight row
   alone, bit for bit, and int8 results are the same for every ISA. The activations are of the matrix's ISA and cols. Threads call it for disjoint tile ranges. */
void kvq_matmul(const kvq_matrix *matrix, const kvq_activations *activations, float *y, size_t stride, size_t first, size_t count);

/* y = x / sqrt(mean(x^2) + epsilon) * weight, for `rows` rows of `width` (row strides x_stride, y_stride); y may be x. */
void kvq_rms_norm(kvq_isa isa, const float *x, const float *weight, float epsilon, size_t rows, size_t width, size_t x_stride, size_t y_stride, float *y);
/* out = silu(gate) * up; gate_up [rows][2 * width], gate first; out [rows][width]. silu(x) = x / (1 + exp(-x)), relative error below 1e-6. */
void kvq_swiglu(kvq_isa isa, const float *gate_up, size_t rows, size_t width, float *out);
/* x += y, and x += bias on each of `rows` rows. */
void kvq_add(kvq_isa isa, float *x, const float *y, size_t count);
void kvq_add_bias(kvq_isa isa, float *x, const float *bias, size_t rows, size_t width, size_t stride);

#ifdef __cplusplus
}
#endif
#endif
