// What the files of one instruction set share and offer. Everything with code is in an anonymous namespace: each file compiles its own copy for its own instruction set.
#pragma once

#include "matmul.h"

namespace {

// Four neighbouring int8 activations as one number.
[[maybe_unused]] inline int32_t dword_at(const int8_t *codes, int group) {
  int32_t dword;
  __builtin_memcpy(&dword, codes + group * 4, 4);
  return dword;
}

struct block_scale {
  float scale, inverse; // inverse 0: every code is 0
};

// `top`: bit pattern of max |x|, where NaN is above infinity above every number.
[[maybe_unused]] inline block_scale scale_of(uint32_t top) {
  float maximum;
  __builtin_memcpy(&maximum, &top, 4);
  if (top >= 0x7f800000) return {__builtin_nanf(""), 0.0f};
  if (maximum < 0x1p-100f) return {0.0f, 0.0f}; // 127 / maximum could overflow
  return {maximum / 127.0f, 127.0f / maximum};
}

[[maybe_unused]] inline void finish_block(kvq::matmul::activation_block &block, block_scale scale, int32_t first, int32_t second) {
  block.scale = scale.scale;
  block.scaled_sum = scale.scale * static_cast<float>(first + second);
  block.minus_sum = -(first + second);
  block.minus_halves[0] = -first;
  block.minus_halves[1] = -second;
}

// How far ahead of the kernel the weights of a cold tile are fetched, in runs.
constexpr size_t prefetch_runs = 8;

template <int bits, kvq::matmul::scaling kind>
inline void prefetch(const uint8_t *codes, const uint8_t *high, const uint8_t *scales) {
  using namespace kvq::matmul;
  for (size_t line = 0; line < code_bytes(bits); line += 64) __builtin_prefetch(codes + prefetch_runs * code_bytes(bits) + line);
  for (size_t line = 0; line < high_bytes(bits); line += 64) __builtin_prefetch(high + prefetch_runs * high_bytes(bits) + line);
  if constexpr (record_runs(kind) == 1) __builtin_prefetch(scales + prefetch_runs * record_bytes(kind));
}

// ---- tables of a kernel's instances: Kernel<bits, kind, rows>::multiply for every quantized type, Floats<type, rows>::multiply for the others ----

template <typename Function, template <int, kvq::matmul::scaling, int> class Kernel, int bits, kvq::matmul::scaling kind, int largest>
const Function *instances() {
  static constexpr Function table[kvq::matmul::panel_sizes] = {Kernel<bits, kind, 1>::multiply, Kernel<bits, kind, 2>::multiply, Kernel<bits, kind, 4>::multiply,
                                                               Kernel<bits, kind, largest>::multiply};
  return table;
}

// Null for float types.
template <typename Function, template <int, kvq::matmul::scaling, int> class Kernel, int largest>
const Function *select_quantized(uint32_t type) {
  using kvq::matmul::scaling;
  switch (type) {
    case KVQ_Q4_0: return instances<Function, Kernel, 4, scaling::offset, largest>();
    case KVQ_Q4_1: return instances<Function, Kernel, 4, scaling::affine, largest>();
    case KVQ_Q5_0: return instances<Function, Kernel, 5, scaling::offset, largest>();
    case KVQ_Q5_1: return instances<Function, Kernel, 5, scaling::affine, largest>();
    case KVQ_Q8_0: return instances<Function, Kernel, 8, scaling::offset, largest>();
    case KVQ_Q4_K: return instances<Function, Kernel, 4, scaling::affine_k, largest>();
    case KVQ_Q5_K: return instances<Function, Kernel, 5, scaling::affine_k, largest>();
    case KVQ_Q6_K: return instances<Function, Kernel, 6, scaling::offset_k, largest>();
    default: return nullptr;
  }
}

template <template <uint32_t, int> class Floats, uint32_t type, int largest>
const kvq::matmul::exact_kernel *float_instances() {
  static constexpr kvq::matmul::exact_kernel table[kvq::matmul::panel_sizes] = {Floats<type, 1>::multiply, Floats<type, 2>::multiply, Floats<type, 4>::multiply, Floats<type, largest>::multiply};
  return table;
}

template <template <uint32_t, int> class Floats, int largest>
const kvq::matmul::exact_kernel *select_floats(uint32_t type) {
  return type == KVQ_F32 ? float_instances<Floats, KVQ_F32, largest>() : type == KVQ_F16 ? float_instances<Floats, KVQ_F16, largest>() : float_instances<Floats, KVQ_BF16, largest>();
}

}  // namespace

namespace kvq {
namespace scalar {
const matmul::exact_kernel *find_exact(uint32_t type);
extern const matmul::backend matmul_backend;
}
namespace avx2 {
const matmul::exact_kernel *find_exact(uint32_t type);
extern const matmul::backend matmul_backend;
}
namespace avx512 {
const matmul::exact_kernel *find_exact(uint32_t type);
extern const matmul::backend matmul_backend;
}
}  // namespace kvq
