// fp16 numbers in the bytes of a page.
#pragma once

#include <stdint.h>

#include "ops/common/half.h"

namespace {

// Largest finite half; encoders store it for anything beyond.
constexpr float maximum_half = 65504.0f;

inline bool half_is_finite(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

// What would become infinite saturates at 65,504.
inline uint16_t finite_half_of_float(float x) { return half_of_float(x > maximum_half ? maximum_half : x < -maximum_half ? -maximum_half : x); }

inline uint16_t read_half(const uint8_t *bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }

inline void write_half(uint8_t *bytes, uint16_t half) {
  bytes[0] = static_cast<uint8_t>(half);
  bytes[1] = static_cast<uint8_t>(half >> 8);
}

}  // namespace
