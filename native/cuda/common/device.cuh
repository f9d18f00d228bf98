// The instructions that kernels use beyond plain CUDA C++, under names that say what they do. Packed halves are u32: the low one first.
// The emulator (tools/cuda-emulation) gives the same names, and CUDA's own, on a CPU.
#pragma once

#include <stdint.h>

#ifdef KVQ_CUDA_EMULATION
#include "emulation.h"
#else
#include <cuda_fp16.h>

#define KVQ_KERNEL(bounds, blocks) extern "C" __global__ __launch_bounds__(bounds, blocks) void
#define KVQ_PARAMETER const __grid_constant__
#define KVQ_SHARED(type, name)       \
  using name##_type = type;          \
  __shared__ name##_type name
#define KVQ_DYNAMIC_SHARED(name) extern __shared__ __align__(128) uint8_t name[]

namespace kvq_cuda {

__device__ __forceinline__ __half2 as_half2(uint32_t x) { return *reinterpret_cast<__half2 *>(&x); }
__device__ __forceinline__ uint32_t as_bits(__half2 x) { return *reinterpret_cast<uint32_t *>(&x); }

__device__ __forceinline__ uint32_t pack_halves(float low, float high) { return as_bits(__floats2half2_rn(low, high)); }
__device__ __forceinline__ float low_half(uint32_t x) { return __low2float(as_half2(x)); }
__device__ __forceinline__ float high_half(uint32_t x) { return __high2float(as_half2(x)); }
__device__ __forceinline__ float float_of_half(uint16_t x) { return __half2float(__ushort_as_half(x)); }
__device__ __forceinline__ uint16_t half_of_float(float x) { return __half_as_ushort(__float2half_rn(x)); }
// Both halves of x times the low (or high) half of y.
__device__ __forceinline__ uint32_t times_low(uint32_t x, uint32_t y) { return as_bits(__hmul2(as_half2(x), __low2half2(as_half2(y)))); }
__device__ __forceinline__ uint32_t times_high(uint32_t x, uint32_t y) { return as_bits(__hmul2(as_half2(x), __high2half2(as_half2(y)))); }

__device__ __forceinline__ uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  uint32_t d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
  return d;
}
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Loads of memory that nothing writes while the kernel runs: kept out of the first-level cache (pages), or in it (tables).
__device__ __forceinline__ uint4 load_stream(const uint4 *from) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(from));
  return x;
}
__device__ __forceinline__ uint2 load_stream(const uint2 *from) {
  uint2 x;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(x.x), "=r"(x.y) : "l"(from));
  return x;
}
template <class T>
__device__ __forceinline__ T load_table(const T *from) { return __ldg(from); }
// Starts to bring a line into the second-level cache.
__device__ __forceinline__ void prefetch(const void *from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from)); }
// What another kernel or block has written: past the first-level cache.
template <class T>
__device__ __forceinline__ T load_written(const T *from) { return __ldcg(from); }

// rows of a: tokens or queries; sums in fp32. Fragments as in PTX m16n8k16.
__device__ __forceinline__ void multiply_halves(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Unsigned bytes times signed bytes; fragments as in PTX m16n8k32.
__device__ __forceinline__ void multiply_bytes(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Four 8 x 8 tiles of halves from rows in shared memory (lane l gives the address of row l), plain or transposed.
__device__ __forceinline__ void load_tiles(uint32_t (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ __forceinline__ void load_tiles_transposed(uint32_t (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
// Starts a copy of 16 bytes to shared memory; zeros when `valid` is false (nothing is read then).
__device__ __forceinline__ void start_copy(void *to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Left>
__device__ __forceinline__ void await_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory"); }

// Programmatic launches (sm_90 and later): the next kernel may start; what the kernel before has written is there.
__device__ __forceinline__ void start_next_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void await_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace kvq_cuda
#endif
