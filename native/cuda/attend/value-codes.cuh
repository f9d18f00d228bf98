// Levels of value codes as signed bytes (docs/format.md section 1.2), looked up in registers by byte permutation: four tokens of a channel in a word, as the integer products take them.
#pragma once

#include "cuda/attend/shape.h"
#include "cuda/common/device.cuh"

namespace kvq_cuda {

// How vectors (16 channels x 4 tokens) fill a unit of 64-byte rows, and which two of its vectors `pair_of` gives at once.
template <uint32_t Bits>
struct value_unit {
  static constexpr uint32_t vectors = Bits == 4 ? 2 : Bits == 2 ? 4 : 8;
  static constexpr uint32_t rows = vectors * Bits / 8;
  static constexpr uint32_t pairs = vectors / 2;
  // 2 bits: vectors k and k + 2 lie a nibble apart.
  static __device__ __forceinline__ constexpr uint32_t even(uint32_t pair) { return Bits == 2 ? pair : 2 * pair; }
  static __device__ __forceinline__ constexpr uint32_t odd(uint32_t pair) { return Bits == 2 ? pair + 2 : 2 * pair + 1; }
};

// Levels of 2^Bits codes, four in a word.
template <uint32_t Bits>
struct value_levels {
  uint32_t table[Bits == 5 ? 8 : Bits == 4 ? 4 : 2];

  __device__ __forceinline__ explicit value_levels(const int8_t *levels) {
#pragma unroll
    for (uint32_t i = 0; i < sizeof(table) / 4; i++) table[i] = (4 * i < 1u << Bits) ? reinterpret_cast<const uint32_t *>(levels)[i] : 0;
  }

  // Eight nibbles -> levels of the four even ones and of the four odd ones.
  __device__ __forceinline__ void of_nibbles(uint32_t nibbles, uint32_t &even, uint32_t &odd) const {
    uint32_t x, y;
    if constexpr (Bits == 4) {
      const uint32_t upper = ((nibbles >> 1) & 0x44444444u) | 0x32103210u, within = nibbles & 0x77777777u;
      x = pick_bytes(pick_bytes(table[0], table[1], within), pick_bytes(table[2], table[3], within), upper);
      y = pick_bytes(pick_bytes(table[0], table[1], within >> 16), pick_bytes(table[2], table[3], within >> 16), upper >> 16);
    } else {
      x = pick_bytes(table[0], table[1], nibbles);
      y = pick_bytes(table[0], table[1], nibbles >> 16);
    }
    even = pick_bytes(x, y, 0x6420);
    odd = pick_bytes(x, y, 0x7531);
  }
  // Four bytes below 32 -> their levels; 5 bits.
  __device__ __forceinline__ uint32_t of_bytes(uint32_t codes) const {
    const uint32_t spread = codes & 0x0f0f0f0fu, low = pick_bytes(spread | spread >> 4, 0, 0x4420); // four nibbles: codes mod 16
    const uint32_t within = low & 0x7777u, upper = ((low >> 1) & 0x4444u) | 0x3210u;
    const uint32_t below = pick_bytes(pick_bytes(table[0], table[1], within), pick_bytes(table[2], table[3], within), upper);
    const uint32_t above = pick_bytes(pick_bytes(table[4], table[5], within), pick_bytes(table[6], table[7], within), upper);
    const uint32_t high = (codes >> 4 & 0x01010101u) * 0xffu;
    return (above & high) | (below & ~high);
  }

  // Levels of the two vectors of pair `pair` of a unit. row: its bytes of one lane, four tokens each.
  __device__ __forceinline__ void of_pair(const uint32_t (&row)[value_unit<Bits>::rows], uint32_t pair, uint32_t &even, uint32_t &odd) const {
    if constexpr (Bits == 4) of_nibbles(row[0], even, odd);
    if constexpr (Bits == 2) of_nibbles(row[0] >> (2 * pair) & 0x33333333u, even, odd);
    if constexpr (Bits == 3) {
      if (pair < 3) of_nibbles((row[pair] & 0x07070707u) | (row[pair] << 1 & 0x70707070u), even, odd);
      else of_nibbles((row[0] >> 6 & 0x03030303u) | (row[2] >> 4 & 0x04040404u) | (row[1] >> 2 & 0x30303030u) | (row[2] >> 1 & 0x40404040u), even, odd);
    }
    if constexpr (Bits == 5) {
      const auto codes = [&](uint32_t vector) {
        if (vector < 5) return row[vector] & 0x1f1f1f1fu;
        if (vector == 5) return (row[0] >> 5 & 0x07070707u) | (row[3] >> 2 & 0x18181818u);
        if (vector == 6) return (row[1] >> 5 & 0x07070707u) | (row[4] >> 2 & 0x18181818u);
        return (row[2] >> 5 & 0x07070707u) | (row[3] >> 4 & 0x08080808u) | (row[4] >> 3 & 0x10101010u);
      };
      even = of_bytes(codes(2 * pair));
      odd = of_bytes(codes(2 * pair + 1));
    }
  }
};

}  // namespace kvq_cuda
