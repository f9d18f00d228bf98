// The symmetric orthonormal Hadamard matrix on the channels of a tile [head_dim][64]: blocks of the largest power of two that divides head_dim, butterflies
// (a, b) -> (a + b, a - b) with strides 1, 2, 4, .., then one product with fp32(1 / sqrt(block)). Three strides are taken at once: a third of the loads and stores.
// The file that includes this one defines `lanes` first.
#pragma once

#include <stdint.h>

#include "kvquant/page.h"

namespace {

// Butterflies with strides `stride` .. `stride` * Rows / 2 on the Rows rows `first` + i * stride.
template <uint32_t Rows>
inline void hadamard_rows(float *first, uint32_t stride, float gain) {
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token += lanes::width) {
    lanes::floats x[Rows];
    for (uint32_t row = 0; row < Rows; row++) x[row] = lanes::load(first + row * stride * KVQ_PAGE_TOKENS + token);
#pragma GCC unroll 3
    for (uint32_t apart = 1; apart < Rows; apart *= 2) {
#pragma GCC unroll 8
      for (uint32_t row = 0; row < Rows; row++) {
        if (row & apart) continue;
        const lanes::floats a = x[row];
        const lanes::floats b = x[row + apart];
        x[row] = a + b;
        x[row + apart] = a - b;
      }
    }
    for (uint32_t row = 0; row < Rows; row++) lanes::store(first + row * stride * KVQ_PAGE_TOKENS + token, gain == 1.0f ? x[row] : x[row] * lanes::all(gain));
  }
}

template <uint32_t Rows>
inline void hadamard_strides(float *tile, uint32_t head_dim, uint32_t stride, float gain) {
  for (uint32_t start = 0; start < head_dim; start += Rows * stride)
    for (uint32_t offset = 0; offset < stride; offset++) hadamard_rows<Rows>(tile + (start + offset) * KVQ_PAGE_TOKENS, stride, gain);
}

inline void apply_hadamard(float *tile, uint32_t head_dim) {
  const uint32_t block = head_dim & (~head_dim + 1);
  const float gain = (float)(1.0 / __builtin_sqrt((double)block));
  for (uint32_t stride = 1; stride < block;) {
    const uint32_t left = block / stride;
    const float last = left <= 8 ? gain : 1.0f;
    if (left >= 8) hadamard_strides<8>(tile, head_dim, stride, last);
    else if (left == 4) hadamard_strides<4>(tile, head_dim, stride, last);
    else hadamard_strides<2>(tile, head_dim, stride, last);
    stride *= left >= 8 ? 8 : left;
  }
}

}  // namespace
