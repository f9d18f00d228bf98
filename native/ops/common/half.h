// fp16 <-> fp32 without instructions for it: exact one way, nearest even the other, infinities and NaN kept.
// Private copies in every file that includes it (see common/float-vector.h).
#pragma once

#include <bit>
#include <cstdint>

namespace {

inline float float_of_half(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
  // The fields moved to their fp32 places read as the number times 2^-112, subnormal ones included.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | special | sign);
}

inline uint16_t half_of_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  // Below 2^-14 the result is a multiple of 2^-24, the spacing of fp32 numbers at 1/2: the addition rounds.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude < 0x38800000u ? magnitude : 0u) + 0.5f) - 0x3f000000u;
  // Elsewhere: new exponent bias, half a unit added (less one bit when the result would be odd), 13 bits dropped; a carry runs into the exponent as it should.
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t half = magnitude >= 0x47800000u ? special : magnitude < 0x38800000u ? subnormal : normal;
  return static_cast<uint16_t>(half | sign);
}

}  // namespace
