// How a packed matrix lies in memory. Rows come in tiles of 16; values along a row in runs of 32, the unit that shares one activation scale.
// A matrix consists of up to three planes, each [tile][run or record] without gaps, so that decoding streams them from front to back:
//
//   codes   of a run: dword lane = row, byte of the dword = one of 4 neighbouring values, which is what vpdpbusd sums without horizontal adds.
//             4, 5, 6 bits: 4 vectors of 64 bytes; byte [group][4 * row + j] holds value 4 * group + j in its low and value 16 + 4 * group + j in its high nibble
//             8 bits:       8 vectors; byte [group][4 * row + j] is value 4 * group + j, plus 128
//   high    of a run, the bits above the nibble
//             5 bits: 1 vector;  bit `group` of byte [4 * row + j] belongs to value 4 * group + j, group = 0 .. 7
//             6 bits: 2 vectors; bit pair `group % 4` of byte [group / 4][4 * row + j]
//   scales  one record a run, or a super-block of 8 runs for the K types
//
// Sizes equal the file's, but for Q4_K (+2.8%) and Q5_K (+2.3%), whose 6-bit scales take a byte each. Float types have one plane, [tile][column][row].
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvquant/dense.h"

namespace kvq::matmul {

constexpr size_t tile_rows = 16;
constexpr size_t run_values = 32;

// What a scale record means for the value of code q.
enum class scaling {
  offset,   // scale * (q - 2^(bits - 1))
  affine,   // scale * q + minimum
  affine_k, // scale * factor * q - minimum * term, 8 runs a record
  offset_k, // scale * factor * (q - 32), factors for 16 values, 8 runs a record (Q6_K)
};

struct offset_record {
  uint16_t scale[tile_rows];
};
struct affine_record {
  uint16_t scale[tile_rows];
  uint16_t minimum[tile_rows];
};
struct affine_k_record {
  uint16_t scale[tile_rows];
  uint16_t minimum[tile_rows];
  uint8_t factor[8][tile_rows];
  uint8_t term[8][tile_rows];
};
struct offset_k_record {
  uint16_t scale[tile_rows];
  int8_t factor[8][2][tile_rows];
};
static_assert(sizeof(offset_record) == 32 && sizeof(affine_record) == 64 && sizeof(affine_k_record) == 320 && sizeof(offset_k_record) == 288);

// Bytes of one run of a tile.
static constexpr size_t code_bytes(int bits) { return bits == 8 ? 512 : 256; }
static constexpr size_t high_bytes(int bits) { return bits == 5 ? 64 : bits == 6 ? 128 : 0; }

// A tensor type of the file.
struct format {
  uint32_t type;
  uint32_t block_values; // 1 for floats
  uint32_t block_bytes;
  int bits;              // 0 for floats
  scaling kind;
};

constexpr format formats[] = {
    {KVQ_F32, 1, 4, 0, scaling::offset},       {KVQ_F16, 1, 2, 0, scaling::offset},       {KVQ_BF16, 1, 2, 0, scaling::offset},
    {KVQ_Q4_0, 32, 18, 4, scaling::offset},    {KVQ_Q4_1, 32, 20, 4, scaling::affine},    {KVQ_Q5_0, 32, 22, 5, scaling::offset},
    {KVQ_Q5_1, 32, 24, 5, scaling::affine},    {KVQ_Q8_0, 32, 34, 8, scaling::offset},    {KVQ_Q4_K, 256, 144, 4, scaling::affine_k},
    {KVQ_Q5_K, 256, 176, 5, scaling::affine_k}, {KVQ_Q6_K, 256, 210, 6, scaling::offset_k},
};

// Null when the type is unknown.
static constexpr const format *find_format(uint32_t type) {
  for (const format &candidate : formats)
    if (candidate.type == type) return &candidate;
  return nullptr;
}

static constexpr size_t record_bytes(scaling kind) {
  switch (kind) {
    case scaling::offset: return sizeof(offset_record);
    case scaling::affine: return sizeof(affine_record);
    case scaling::affine_k: return sizeof(affine_k_record);
    default: return sizeof(offset_k_record);
  }
}
static constexpr size_t record_runs(scaling kind) { return kind == scaling::affine_k || kind == scaling::offset_k ? 8 : 1; }

}  // namespace kvq::matmul
