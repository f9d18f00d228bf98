// Page-local key scales: steps of 2^(1/16) (packages/quant/src/quantizers/page-scale.ts and page-keys.ts).
#pragma once

#include <bit>
#include <stdint.h>

namespace {

// Lowest and highest e that a byte can hold, stored as 0 and 255.
constexpr int lowest_exponent = -192;
constexpr int highest_exponent = 63;

// Bits of fp32(2^(i / 16)).
constexpr uint32_t power_mantissas[16] = {0x3f800000u, 0x3f85aac3u, 0x3f8b95c2u, 0x3f91c3d3u, 0x3f9837f0u, 0x3f9ef532u, 0x3fa5fed7u, 0x3fad583fu,
                                          0x3fb504f3u, 0x3fbd08a4u, 0x3fc5672au, 0x3fce248cu, 0x3fd744fdu, 0x3fe0ccdfu, 0x3feac0c7u, 0x3ff5257du};
// Bits of the smallest fp32 above 2^((i + 1/2) / 16): mantissas from there on are nearer to i + 1 sixteenths.
constexpr uint32_t power_boundaries[16] = {0x3f82cd87u, 0x3f88980fu, 0x3f8ea43au, 0x3f94f4f0u, 0x3f9b8d3au, 0x3fa27044u, 0x3fa9a15bu, 0x3fb123f6u,
                                           0x3fb8fbb0u, 0x3fc12c4du, 0x3fc9b9beu, 0x3fd2a81eu, 0x3fdbfbb8u, 0x3fe5b907u, 0x3fefe4bau, 0x3ffa83b3u};
// Bits of the smallest fp32 above 2^-12.5, below which everything takes the lowest scale.
constexpr uint32_t smallest_ratio = 0x393504f4u;

// fp32(2^(e / 16)) for e in [-192, 63]: a mantissa times a power of two, exact.
inline float power_of_exponent(int e) { return std::bit_cast<float>(power_mantissas[e & 15] + (static_cast<uint32_t>(e >> 4) << 23)); }

// round(16 log2(ratio)) without a logarithm, so that every implementation agrees (the boundaries are irrational: no ties); -193 below 2^-12.5, 64 for infinity.
inline int rounded_exponent(float ratio) {
  const uint32_t bits = std::bit_cast<uint32_t>(ratio);
  if (!(ratio >= std::bit_cast<float>(smallest_ratio))) return lowest_exponent - 1;
  if (bits == 0x7f800000u) return highest_exponent + 1;
  const uint32_t mantissa = (bits & 0x7fffffu) | 0x3f800000u;
  int sixteenth = 0;
  for (const uint32_t boundary : power_boundaries) sixteenth += mantissa >= boundary;
  return 16 * (static_cast<int>(bits >> 23) - 127) + sixteenth;
}

// Scale and zero point that the bytes e + 192 and n + 128 stand for; a and z are the channel's offline ones.
inline float page_scale(float a, uint8_t stored) { return a * power_of_exponent(stored + lowest_exponent); }
inline float page_zero(float a, float z, uint8_t stored) { return z + a * static_cast<float>(static_cast<int>(stored) - 128) / 64.0f; }

}  // namespace
