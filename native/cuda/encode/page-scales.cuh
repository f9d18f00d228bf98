// Page-local key scales on the device (docs/format.md section 2.2): the numbers of native/ops/page/page-scale.h and native/ops/encode/page-scales.h.
#pragma once

#include "cuda/common/device.cuh"

namespace kvq_cuda {

constexpr int lowest_exponent = -192, highest_exponent = 63;

// Bits of fp32(2^(i / 16)).
__device__ __forceinline__ uint32_t power_mantissa(uint32_t i) {
  switch (i) { // a table would lie in local memory
    case 0: return 0x3f800000u;
    case 1: return 0x3f85aac3u;
    case 2: return 0x3f8b95c2u;
    case 3: return 0x3f91c3d3u;
    case 4: return 0x3f9837f0u;
    case 5: return 0x3f9ef532u;
    case 6: return 0x3fa5fed7u;
    case 7: return 0x3fad583fu;
    case 8: return 0x3fb504f3u;
    case 9: return 0x3fbd08a4u;
    case 10: return 0x3fc5672au;
    case 11: return 0x3fce248cu;
    case 12: return 0x3fd744fdu;
    case 13: return 0x3fe0ccdfu;
    case 14: return 0x3feac0c7u;
    default: return 0x3ff5257du;
  }
}
// fp32(2^(e / 16)).
__device__ __forceinline__ float power_of_exponent(int e) { return __uint_as_float(power_mantissa(static_cast<uint32_t>(e) & 15) + (static_cast<uint32_t>(e >> 4) << 23)); }

// round(16 log2(ratio)); -193 below 2^-12.5, 64 for infinity.
__device__ __forceinline__ int rounded_exponent(float ratio) {
  // Bits of the smallest fp32 above 2^((i + 1/2) / 16).
  constexpr uint32_t boundaries[16] = {0x3f82cd87u, 0x3f88980fu, 0x3f8ea43au, 0x3f94f4f0u, 0x3f9b8d3au, 0x3fa27044u, 0x3fa9a15bu, 0x3fb123f6u,
                                       0x3fb8fbb0u, 0x3fc12c4du, 0x3fc9b9beu, 0x3fd2a81eu, 0x3fdbfbb8u, 0x3fe5b907u, 0x3fefe4bau, 0x3ffa83b3u};
  const uint32_t bits = __float_as_uint(ratio);
  if (!(ratio >= __uint_as_float(0x393504f4u))) return lowest_exponent - 1;
  if (bits == 0x7f800000u) return highest_exponent + 1;
  const uint32_t mantissa = (bits & 0x7fffffu) | 0x3f800000u;
  int sixteenth = 0;
#pragma unroll
  for (uint32_t i = 0; i < 16; i++) sixteenth += mantissa >= boundaries[i];
  return 16 * (static_cast<int>(bits >> 23) - 127) + sixteenth;
}

__device__ __forceinline__ double round_away_from_zero(double x) { return x < 0 ? -floor(0.5 - x) : floor(x + 0.5); }

// scale, zero: the channel's offline ones on entry, the page's on exit. Returns whether a stored number had to be clamped.
__device__ __forceinline__ bool measure_channel(float low, float high, uint8_t &stored_scale, uint8_t &stored_zero, float &scale, float &zero) {
  const float a = scale, z = zero, middle = __fdiv_rn(__fadd_rn(low, high), 2.0f);
  const double offset = round_away_from_zero(__fdiv_rn(__fmul_rn(__fsub_rn(middle, z), 64.0f), a));
  const double n = offset < -128 ? -128 : offset > 127 ? 127 : offset;
  zero = __fadd_rn(z, __fdiv_rn(__fmul_rn(a, static_cast<float>(n)), 64.0f));
  float half = __fdiv_rn(__fsub_rn(high, low), 2.0f);
  if (n != offset) {
    const float above = __fsub_rn(high, zero), below = __fsub_rn(zero, low);
    half = above > below ? above : below;
  }
  const int exponent = high == low ? lowest_exponent : rounded_exponent(__fdiv_rn(half, a));
  const int e = exponent < lowest_exponent ? lowest_exponent : exponent > highest_exponent ? highest_exponent : exponent;
  scale = __fmul_rn(a, power_of_exponent(e));
  stored_scale = static_cast<uint8_t>(e - lowest_exponent);
  stored_zero = static_cast<uint8_t>(static_cast<int>(n) + 128);
  return n != offset || e != exponent;
}

}  // namespace kvq_cuda
