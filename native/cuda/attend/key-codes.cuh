// Levels of key codes, two channels of a pair at a time (docs/format.md section 1.1), through a table in shared memory that every lane has its own copy of.
#pragma once

#include "cuda/attend/shape.h"
#include "cuda/common/device.cuh"

namespace kvq_cuda {

// `Mask << 7` of a word shifted so that bit `shift` becomes bit 7: an offset of 128 bytes an entry.
template <uint32_t Mask>
__device__ __forceinline__ uint32_t entry_offset(uint32_t word, uint32_t shift) { return (shift >= 7 ? word >> (shift - 7) : word << (7 - shift)) & (Mask << 7); }

// Offset of the entry of one code (0 .. 15) of a group, 5 bits.
__device__ __forceinline__ uint32_t code_offset_5(const uint32_t (&word)[5], uint32_t shift, uint32_t code) {
  if (code < 15) return entry_offset<31>(word[code / 3], shift + 5 * (code % 3));
  uint32_t offset = 0;
#pragma unroll
  for (uint32_t bit = 0; bit < 5; bit++) offset |= entry_offset<1>(word[bit], shift + 15) << bit;
  return offset;
}

// Offset of the entry of pair `pair` (0 .. 7) of a group, 2 to 4 bits. word: two lanes (tokens) each, `shift` 0 or 16 says which.
template <uint32_t Bits>
__device__ __forceinline__ uint32_t pair_offset(const uint32_t (&word)[Bits], uint32_t shift, uint32_t pair) {
  if constexpr (Bits == 4) return entry_offset<255>(word[pair / 2], shift + 8 * (pair % 2));
  if constexpr (Bits == 2) return entry_offset<15>(word[pair / 4], shift + 4 * (pair % 4));
  if constexpr (Bits == 3) {
    switch (pair) {
      case 0: return entry_offset<63>(word[0], shift);
      case 1: return entry_offset<63>(word[0], shift + 6);
      case 2: return entry_offset<7>(word[0], shift + 12) | entry_offset<7>(word[1], shift) << 3;
      case 3: return entry_offset<63>(word[1], shift + 3);
      case 4: return entry_offset<63>(word[1], shift + 9);
      case 5: return entry_offset<63>(word[2], shift);
      case 6: return entry_offset<63>(word[2], shift + 6);
      default:
        return entry_offset<7>(word[2], shift + 12) | entry_offset<1>(word[0], shift + 15) << 3 | entry_offset<1>(word[1], shift + 15) << 4 | entry_offset<1>(word[2], shift + 15) << 5;
    }
  }
  return 0;
}

// Levels (times 127) of a pair as two halves. table: the level table, moved by 4 bytes times the lane.
template <uint32_t Bits>
__device__ __forceinline__ uint32_t pair_levels(const uint8_t *table, const uint32_t (&word)[Bits], uint32_t shift, uint32_t pair) {
  const auto entry = [&](uint32_t offset) { return *reinterpret_cast<const uint32_t *>(table + offset); };
  if constexpr (Bits == 5) return pick_bytes(entry(code_offset_5(word, shift, 2 * pair)), entry(code_offset_5(word, shift, 2 * pair + 1)), 0x5410);
  else return entry(pair_offset<Bits>(word, shift, pair));
}

// All threads of a block fill the table. levels: 127 * level.
template <uint32_t Bits>
__device__ __forceinline__ void fill_level_table(uint4 *table, const int8_t *levels, uint32_t thread, uint32_t count) {
  constexpr uint32_t mask = (1u << Bits) - 1;
  for (uint32_t i = thread; i < level_table_entries(Bits) * 8; i += count) {
    const uint32_t entry = i / 8, pair = pack_halves(static_cast<float>(levels[entry & mask]), Bits == 5 ? 0.0f : static_cast<float>(levels[entry >> Bits & mask]));
    table[i] = make_uint4(pair, pair, pair, pair);
  }
}

}  // namespace kvq_cuda
