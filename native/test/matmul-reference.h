// Tensor blocks decoded value by value in float64, straight from ggml's description of the formats, and random blocks. Shared by the test and the bench of the matrix product;
// nothing of the library is used.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace reference {

struct type_info {
  uint32_t id;
  const char *name;
  size_t values, bytes;        // of a block
  std::vector<size_t> halves;  // where fp16 numbers stand in it
};

inline const std::vector<type_info> &types() {
  static const std::vector<type_info> all = {
      {0, "F32", 1, 4, {}},        {1, "F16", 1, 2, {0}},       {30, "BF16", 1, 2, {}},     {2, "Q4_0", 32, 18, {0}},       {3, "Q4_1", 32, 20, {0, 2}}, {6, "Q5_0", 32, 22, {0}},
      {7, "Q5_1", 32, 24, {0, 2}}, {8, "Q8_0", 32, 34, {0}},    {12, "Q4_K", 256, 144, {0, 2}}, {13, "Q5_K", 256, 176, {0, 2}}, {14, "Q6_K", 256, 210, {208}},
  };
  return all;
}

struct random_numbers {
  uint64_t state;
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545F4914F6CDD1Dull >> 16;
  }
  double uniform() { return static_cast<double>(next() & 0xffffffffull) / 4294967296.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform() + 1e-30)) * std::cos(6.283185307179586 * uniform()); }
};

inline double half(const uint8_t *p) {
  const int bits = p[0] | p[1] << 8, exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

// A weight is exactly `scaled` + `minimum`; arithmetic may treat the two apart, so errors are measured against |scaled| + |minimum|.
struct weight {
  double scaled, minimum;
  double value() const { return scaled + minimum; }
  double magnitude() const { return std::fabs(scaled) + std::fabs(minimum); }
};

inline int six_bit_scale(const uint8_t *p, int run, bool minimum) {
  const int at = run % 4 + (minimum ? 4 : 0);
  if (run < 4) return p[at] % 64;
  return (minimum ? p[8 + run % 4] / 16 : p[8 + run % 4] % 16) + p[at] / 64 * 16;
}

// Value `index` of the block at p.
inline weight decode(uint32_t type, const uint8_t *p, int index) {
  const auto nibble = [&](const uint8_t *codes) { return index < 16 ? codes[index] % 16 : codes[index - 16] / 16; };
  const auto fifth = [&](const uint8_t *bits) { return (bits[index / 8] >> index % 8 & 1) * 16; };
  switch (type) {
    case 0: {
      const uint32_t bits = p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24;
      float value;
      static_assert(sizeof value == sizeof bits);
      __builtin_memcpy(&value, &bits, 4);
      return {value, 0};
    }
    case 1: return {half(p), 0};
    case 30: {
      const uint32_t bits = static_cast<uint32_t>(p[0] | p[1] << 8) << 16;
      float value;
      __builtin_memcpy(&value, &bits, 4);
      return {value, 0};
    }
    case 2: return {half(p) * (nibble(p + 2) - 8), 0};
    case 3: return {half(p) * nibble(p + 4), half(p + 2)};
    case 6: return {half(p) * (nibble(p + 6) + fifth(p + 2) - 16), 0};
    case 7: return {half(p) * (nibble(p + 8) + fifth(p + 4)), half(p + 2)};
    case 8: return {half(p) * static_cast<int8_t>(p[2 + index]), 0};
    case 12:
    case 13: {
      const int run = index / 32, i = index % 32;
      const uint8_t *codes = p + (type == 12 ? 16 : 48) + run / 2 * 32;
      int code = run % 2 ? codes[i] / 16 : codes[i] % 16;
      if (type == 13) code += (p[16 + i] >> run & 1) * 16;
      return {half(p) * six_bit_scale(p + 4, run, false) * code, -half(p + 2) * six_bit_scale(p + 4, run, true)};
    }
    default: { // Q6_K
      const int part = index / 128, quarter = index % 128 / 32, i = index % 32;
      const uint8_t low = p[part * 64 + quarter % 2 * 32 + i];
      const int code = (quarter / 2 ? low / 16 : low % 16) + (p[128 + part * 32 + i] >> 2 * quarter & 3) * 16;
      return {half(p + 208) * static_cast<int8_t>(p[192 + index / 16]) * (code - 32), 0};
    }
  }
}

// `count` blocks of random bytes. Halves are finite; floats are normal numbers between 2^-6 and 2^2, so that sums mean something.
inline std::vector<uint8_t> random_blocks(const type_info &type, size_t count, random_numbers &random, bool any_half) {
  std::vector<uint8_t> bytes(count * type.bytes);
  for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(random.next());
  for (size_t block = 0; block < count; block++) {
    uint8_t *p = &bytes[block * type.bytes];
    // Gives the 16-bit number at p[at] an exponent of `lowest` .. lowest + choices - 1; `shift` bits of mantissa.
    const auto limit = [&](size_t at, int shift, int lowest, uint64_t choices) {
      int value = p[at] | p[at + 1] << 8;
      value = (value & (0x8000 | ((1 << shift) - 1))) | (lowest + static_cast<int>(random.next() % choices)) << shift;
      p[at] = static_cast<uint8_t>(value);
      p[at + 1] = static_cast<uint8_t>(value >> 8);
    };
    if (type.id == 0) limit(2, 7, 121, 8);
    if (type.id == 30) limit(0, 7, 121, 8);
    for (const size_t at : type.halves) limit(at, 10, any_half ? 0 : 6, any_half ? 31 : 9);
  }
  return bytes;
}

}  // namespace reference
