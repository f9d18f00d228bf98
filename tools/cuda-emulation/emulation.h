// CUDA C++ on a CPU: what native/cuda/common/device.cuh promises, and the part of CUDA's own vocabulary that the kernels use. Kernel sources are compiled unchanged by g++ or clang++ with
// -DKVQ_CUDA_EMULATION. Not modelled: races between blocks (they run one after another), weak memory, contraction of multiplications and additions, the device's approximate functions.
#pragma once

#include <math.h>

#include <bit>
#include <type_traits>

#include "fibers.h"

#define __device__
#define __host__
#define __forceinline__ inline
#define KVQ_KERNEL(bounds, blocks) extern "C" void
#define KVQ_PARAMETER const
#define KVQ_DYNAMIC_SHARED(name) uint8_t *const name = emulation::gpu.dynamic_shared
#define KVQ_SHARED(type, name)                                        \
  static const size_t name##_number = emulation::reserve_shared(sizeof(type)); \
  using name##_type = type; \
  name##_type &name = *reinterpret_cast<name##_type *>(emulation::shared_piece(name##_number))

struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define threadIdx (uint3{emulation::gpu.current->index, 0, 0})
#define blockIdx (emulation::gpu.block)
#define gridDim (emulation::gpu.grid)
#define blockDim (uint3{emulation::gpu.threads, 1, 1})

#define KVQ_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }
inline uint32_t max(uint32_t a, uint32_t b) { return a > b ? a : b; }
inline int __popc(uint32_t x) { return std::popcount(x); }
inline int __popcll(uint64_t x) { return std::popcount(x); }
inline int __ffs(uint32_t x) { return x == 0 ? 0 : std::countr_zero(x) + 1; }
inline int __ffsll(uint64_t x) { return x == 0 ? 0 : std::countr_zero(x) + 1; }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline void __threadfence() {}
inline uint32_t atomicAdd(uint32_t *to, uint32_t x) { return __atomic_fetch_add(to, x, __ATOMIC_RELAXED); }
inline uint32_t atomicAnd(uint32_t *to, uint32_t x) { return __atomic_fetch_and(to, x, __ATOMIC_RELAXED); }

inline void __syncthreads(KVQ_PLACE) { emulation::block_barrier({file, line}); }
inline void __syncwarp(uint32_t mask = ~0u, KVQ_PLACE) { emulation::warp_operation(nullptr, mask, nullptr, true, {file, line}); }

namespace emulation {

template <class T>
struct exchanged {
  T value, result;
  uint32_t from;
};
template <class T>
T exchange(uint32_t mask, T value, uint32_t from, source_place place) {
  if (!(mask >> from & 1)) misuse("a shuffle reads a lane that is not in the mask", gpu.current);
  exchanged<T> mine = {value, value, from};
  warp_operation(
      [](void *const (&arguments)[32], uint32_t lanes) {
        for (uint32_t l = 0; l < 32; l++) {
          if (!(lanes >> l & 1)) continue;
          auto *to = static_cast<exchanged<T> *>(arguments[l]);
          to->result = static_cast<exchanged<T> *>(arguments[to->from])->value;
        }
      },
      mask, &mine, false, place);
  return mine.result;
}
inline uint32_t lane() { return gpu.current->index & 31; }

}  // namespace emulation

template <class T>
T __shfl_sync(uint32_t mask, T value, uint32_t from, KVQ_PLACE) { return emulation::exchange(mask, value, from & 31, {file, line}); }
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, uint32_t distance, KVQ_PLACE) { return emulation::exchange(mask, value, (emulation::lane() ^ distance) & 31, {file, line}); }
template <class T>
T __shfl_up_sync(uint32_t mask, T value, uint32_t distance, KVQ_PLACE) {
  const uint32_t lane = emulation::lane();
  return emulation::exchange(mask, value, lane >= distance ? lane - distance : lane, {file, line});
}

namespace emulation {
inline uint32_t ballot(uint32_t mask, bool value, source_place place) {
  exchanged<uint32_t> mine = {value, 0, 0};
  warp_operation(
      [](void *const (&arguments)[32], uint32_t lanes) {
        uint32_t bits = 0;
        for (uint32_t l = 0; l < 32; l++) if (lanes >> l & 1) bits |= static_cast<exchanged<uint32_t> *>(arguments[l])->value << l;
        for (uint32_t l = 0; l < 32; l++) if (lanes >> l & 1) static_cast<exchanged<uint32_t> *>(arguments[l])->result = bits;
      },
      mask, &mine, false, place);
  return mine.result;
}
}  // namespace emulation
inline uint32_t __ballot_sync(uint32_t mask, bool value, KVQ_PLACE) { return emulation::ballot(mask, value, {file, line}); }
inline bool __any_sync(uint32_t mask, bool value, KVQ_PLACE) { return emulation::ballot(mask, value, {file, line}) != 0; }
inline uint32_t __match_any_sync(uint32_t mask, uint32_t value, KVQ_PLACE) {
  emulation::exchanged<uint32_t> mine = {value, 0, 0};
  emulation::warp_operation(
      [](void *const (&arguments)[32], uint32_t lanes) {
        const auto at = [&](uint32_t l) { return static_cast<emulation::exchanged<uint32_t> *>(arguments[l]); };
        for (uint32_t l = 0; l < 32; l++) {
          if (!(lanes >> l & 1)) continue;
          at(l)->result = 0;
          for (uint32_t m = 0; m < 32; m++) if ((lanes >> m & 1) && at(m)->value == at(l)->value) at(l)->result |= 1u << m;
        }
      },
      mask, &mine, false, {file, line});
  return mine.result;
}

namespace kvq_cuda {

inline float float_of_half(uint16_t x) { return static_cast<float>(std::bit_cast<_Float16>(x)); }
inline uint16_t half_of_float(float x) { return std::bit_cast<uint16_t>(static_cast<_Float16>(x)); }
inline uint32_t pack_halves(float low, float high) { return half_of_float(low) | static_cast<uint32_t>(half_of_float(high)) << 16; }
inline float low_half(uint32_t x) { return float_of_half(static_cast<uint16_t>(x)); }
inline float high_half(uint32_t x) { return float_of_half(static_cast<uint16_t>(x >> 16)); }
// A product of two halves is exact in fp32: one rounding, as on the device.
inline uint32_t times_low(uint32_t x, uint32_t y) { return pack_halves(low_half(x) * low_half(y), high_half(x) * low_half(y)); }
inline uint32_t times_high(uint32_t x, uint32_t y) { return pack_halves(low_half(x) * high_half(y), high_half(x) * high_half(y)); }
inline float power_of_two(float x) { return exp2f(x); }

// prmt.b32: byte i of the result is byte (selector nibble i) of b:a, or its sign eight times where the nibble's top bit is set.
inline uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = a | static_cast<uint64_t>(b) << 32;
  uint32_t result = 0;
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t nibble = selector >> (4 * i) & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (nibble & 7))) & 255;
    if (nibble & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}

template <class T>
inline T load_stream(const T *from) { return *from; }
template <class T>
inline T load_table(const T *from) { return *from; }
template <class T>
inline T load_written(const T *from) { return *from; }

inline void prefetch(const void *) {}

struct half_product {
  float *c;
  uint32_t a[4], b[2];
};
inline void multiply_halves(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1, KVQ_PLACE) {
  half_product mine = {c, {a0, a1, a2, a3}, {b0, b1}};
  emulation::warp_operation(
      [](void *const (&arguments)[32], uint32_t) {
        float a[16][16], b[8][16];
        for (uint32_t l = 0; l < 32; l++) {
          const auto *p = static_cast<const half_product *>(arguments[l]);
          const uint32_t g = l / 4, k = l % 4 * 2;
          for (uint32_t i = 0; i < 4; i++) {
            a[g + i % 2 * 8][k + i / 2 * 8] = low_half(p->a[i]);
            a[g + i % 2 * 8][k + i / 2 * 8 + 1] = high_half(p->a[i]);
          }
          for (uint32_t i = 0; i < 2; i++) b[g][k + i * 8] = low_half(p->b[i]), b[g][k + i * 8 + 1] = high_half(p->b[i]);
        }
        for (uint32_t l = 0; l < 32; l++) {
          const auto *p = static_cast<const half_product *>(arguments[l]);
          for (uint32_t i = 0; i < 4; i++) {
            const float *x = a[l / 4 + i / 2 * 8], *y = b[l % 4 * 2 + i % 2];
            float sum = 0;
            for (uint32_t k = 0; k < 16; k++) sum += x[k] * y[k];
            p->c[i] += sum;
          }
        }
      },
      ~0u, &mine, false, {file, line});
}

struct byte_product {
  int *c;
  uint32_t a[4], b[2];
};
inline void multiply_bytes(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1, KVQ_PLACE) {
  byte_product mine = {c, {a0, a1, a2, a3}, {b0, b1}};
  emulation::warp_operation(
      [](void *const (&arguments)[32], uint32_t) {
        int a[16][32], b[8][32];
        for (uint32_t l = 0; l < 32; l++) {
          const auto *p = static_cast<const byte_product *>(arguments[l]);
          const uint32_t g = l / 4, k = l % 4 * 4;
          for (uint32_t byte = 0; byte < 4; byte++) {
            for (uint32_t i = 0; i < 4; i++) a[g + i % 2 * 8][k + i / 2 * 16 + byte] = p->a[i] >> (8 * byte) & 255;
            for (uint32_t i = 0; i < 2; i++) b[g][k + i * 16 + byte] = static_cast<int8_t>(p->b[i] >> (8 * byte));
          }
        }
        for (uint32_t l = 0; l < 32; l++) {
          const auto *p = static_cast<const byte_product *>(arguments[l]);
          for (uint32_t i = 0; i < 4; i++) {
            const int *x = a[l / 4 + i / 2 * 8], *y = b[l % 4 * 2 + i % 2];
            int sum = 0;
            for (uint32_t k = 0; k < 32; k++) sum += x[k] * y[k];
            p->c[i] += sum;
          }
        }
      },
      ~0u, &mine, false, {file, line});
}

struct tile_load {
  uint32_t *r;
  const uint16_t *row;
};
inline void load_tiles(uint32_t (&r)[4], const void *row, KVQ_PLACE) {
  tile_load mine = {r, static_cast<const uint16_t *>(row)};
  emulation::warp_operation(
      [](void *const (&arguments)[32], uint32_t) {
        for (uint32_t l = 0; l < 32; l++)
          for (uint32_t i = 0; i < 4; i++) {
            const uint16_t *from = static_cast<const tile_load *>(arguments[8 * i + l / 4])->row + l % 4 * 2;
            static_cast<const tile_load *>(arguments[l])->r[i] = from[0] | static_cast<uint32_t>(from[1]) << 16;
          }
      },
      ~0u, &mine, false, {file, line});
}
inline void load_tiles_transposed(uint32_t (&r)[4], const void *row, KVQ_PLACE) {
  tile_load mine = {r, static_cast<const uint16_t *>(row)};
  emulation::warp_operation(
      [](void *const (&arguments)[32], uint32_t) {
        for (uint32_t l = 0; l < 32; l++)
          for (uint32_t i = 0; i < 4; i++) {
            const auto row_of = [&](uint32_t n) { return static_cast<const tile_load *>(arguments[8 * i + n])->row; };
            static_cast<const tile_load *>(arguments[l])->r[i] = row_of(l % 4 * 2)[l / 4] | static_cast<uint32_t>(row_of(l % 4 * 2 + 1)[l / 4]) << 16;
          }
      },
      ~0u, &mine, false, {file, line});
}

// Copies arrive no earlier than they are awaited: who forgets to wait reads what was there before.
inline void start_copy(void *to, const void *from, bool valid) { emulation::gpu.current->open_copies.push_back({to, from, valid}); }
inline void commit_copies() {
  auto &me = *emulation::gpu.current;
  me.copies.push_back(std::move(me.open_copies));
  me.open_copies.clear();
}
template <int Left>
inline void await_copies() {
  auto &me = *emulation::gpu.current;
  while (me.copies.size() > static_cast<size_t>(Left)) {
    for (const auto &copy : me.copies.front()) {
      if (copy.valid) *static_cast<uint4 *>(copy.to) = *static_cast<const uint4 *>(copy.from);
      else *static_cast<uint4 *>(copy.to) = {};
    }
    me.copies.erase(me.copies.begin());
  }
}

inline void start_next_kernel() {}
inline void await_previous_kernel() {}

}  // namespace kvq_cuda
