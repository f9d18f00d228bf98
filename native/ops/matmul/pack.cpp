// File blocks (ggml's public formats, as packages/model/src/gguf/blocks decodes them) into the planes of layout.h and back.
// Packing moves 4 or 8 bytes at a time, because it runs over the whole file at load; unpacking serves tests and is written value by value.
#include "pack.h"

#include <string.h>

#include <bit>
#include <type_traits>

namespace kvq::matmul {
namespace {

static_assert(std::endian::native == std::endian::little, "file blocks are little-endian");

uint32_t word_at(const uint8_t *bytes) {
  uint32_t word;
  memcpy(&word, bytes, 4);
  return word;
}

// ---- planes of one row ----

// Codes of run `run`: dword `group` of this row.
uint8_t *code_dword(const row_view &row, int bits, size_t run, size_t group) { return row.codes + run * code_bytes(bits) + group * 64 + row.lane * 4; }
uint8_t *high_dword(const row_view &row, int bits, size_t run, size_t group) { return row.high + run * high_bytes(bits) + group * 64 + row.lane * 4; }

// 16 bytes with value j in the low and value 16 + j in the high nibble of byte j.
void put_nibbles(const row_view &row, size_t run, const uint8_t *bytes) {
  for (size_t group = 0; group < 4; group++) memcpy(code_dword(row, 4, run, group), bytes + group * 4, 4);
}
void get_nibbles(const row_view &row, size_t run, uint8_t *bytes) {
  for (size_t group = 0; group < 4; group++) memcpy(bytes + group * 4, code_dword(row, 4, run, group), 4);
}

// The K types keep two runs in the nibbles of 32 bytes; run 0 is the low one.
void put_split_nibbles(const row_view &row, size_t run, const uint8_t *bytes, int nibble) {
  uint64_t words[4];
  memcpy(words, bytes, 32);
  constexpr uint64_t low = 0x0f0f0f0f0f0f0f0full;
  for (int half = 0; half < 2; half++) words[half] = ((words[half] >> 4 * nibble) & low) | ((words[half + 2] >> 4 * nibble) & low) << 4;
  put_nibbles(row, run, reinterpret_cast<const uint8_t *>(words));
}
// Adds the run to zeroed bytes.
void get_split_nibbles(const row_view &row, size_t run, uint8_t *bytes, int nibble) {
  uint8_t packed[16];
  get_nibbles(row, run, packed);
  for (int j = 0; j < 16; j++) {
    bytes[j] = static_cast<uint8_t>(bytes[j] | (packed[j] & 15) << 4 * nibble);
    bytes[j + 16] = static_cast<uint8_t>(bytes[j + 16] | (packed[j] >> 4) << 4 * nibble);
  }
}

template <typename Record>
Record &record_at(const row_view &row, size_t index) {
  return reinterpret_cast<Record *>(row.scales)[index];
}

// ---- 6-bit scales of Q4_K and Q5_K ----

// Runs 0-3: low 6 bits of bytes 0-3 (scales) and 4-7 (minima). Runs 4-7: nibbles of bytes 8-11, their upper two bits on top of bytes 0-3 and 4-7.
void put_scales(affine_k_record &record, size_t lane, const uint8_t *bytes) {
  for (int run = 0; run < 4; run++) {
    record.factor[run][lane] = bytes[run] & 63;
    record.term[run][lane] = bytes[run + 4] & 63;
    record.factor[run + 4][lane] = static_cast<uint8_t>((bytes[run + 8] & 15) | (bytes[run] >> 6) << 4);
    record.term[run + 4][lane] = static_cast<uint8_t>((bytes[run + 8] >> 4) | (bytes[run + 4] >> 6) << 4);
  }
}
void get_scales(const affine_k_record &record, size_t lane, uint8_t *bytes) {
  for (int run = 0; run < 4; run++) {
    const uint8_t factor = record.factor[run + 4][lane], term = record.term[run + 4][lane];
    bytes[run] = static_cast<uint8_t>(record.factor[run][lane] | (factor >> 4) << 6);
    bytes[run + 4] = static_cast<uint8_t>(record.term[run][lane] | (term >> 4) << 6);
    bytes[run + 8] = static_cast<uint8_t>((factor & 15) | (term & 15) << 4);
  }
}

// ---- types: one block of one row each ----

template <size_t bytes>
struct floats {
  static constexpr size_t block_bytes = bytes;
  static void pack(const row_view &row, size_t block, const uint8_t *file) { memcpy(row.codes + (block * tile_rows + row.lane) * bytes, file, bytes); }
  static void unpack(const row_view &row, size_t block, uint8_t *file) { memcpy(file, row.codes + (block * tile_rows + row.lane) * bytes, bytes); }
};

// Scale, minimum if affine, fifth bits (bit i of a dword for value i) if there are any, 16 bytes of nibbles.
template <int bits, bool affine>
struct legacy {
  using record = std::conditional_t<affine, affine_record, offset_record>;
  static constexpr size_t high_at = affine ? 4 : 2, codes_at = high_at + (bits == 5 ? 4 : 0), block_bytes = codes_at + 16;

  static void pack(const row_view &row, size_t block, const uint8_t *file) {
    record &scales = record_at<record>(row, block);
    memcpy(&scales.scale[row.lane], file, 2);
    if constexpr (affine) memcpy(&scales.minimum[row.lane], file + 2, 2);
    put_nibbles(row, block, file + codes_at);
    if constexpr (bits == 5) {
      // Byte j takes bits j, j + 4, j + 8 ..: every fourth bit, moved together.
      const uint32_t word = word_at(file + high_at);
      uint32_t high = 0;
      for (int j = 0; j < 4; j++) {
        uint32_t x = (word >> j) & 0x11111111;
        x = (x | x >> 3) & 0x03030303;
        x = (x | x >> 6) & 0x000f000f;
        high |= ((x | x >> 12) & 255) << 8 * j;
      }
      memcpy(high_dword(row, bits, block, 0), &high, 4);
    }
  }

  static void unpack(const row_view &row, size_t block, uint8_t *file) {
    const record &scales = record_at<record>(row, block);
    memcpy(file, &scales.scale[row.lane], 2);
    if constexpr (affine) memcpy(file + 2, &scales.minimum[row.lane], 2);
    get_nibbles(row, block, file + codes_at);
    if constexpr (bits == 5) {
      const uint8_t *high = high_dword(row, bits, block, 0);
      uint32_t word = 0;
      for (int value = 0; value < 32; value++) word |= static_cast<uint32_t>(high[value % 4] >> value / 4 & 1) << value;
      memcpy(file + high_at, &word, 4);
    }
  }
};

struct q8_0 {
  static constexpr size_t block_bytes = 34;
  static void pack(const row_view &row, size_t block, const uint8_t *file) {
    memcpy(&record_at<offset_record>(row, block).scale[row.lane], file, 2);
    for (size_t group = 0; group < 8; group++) {
      const uint32_t biased = word_at(file + 2 + group * 4) ^ 0x80808080;
      memcpy(code_dword(row, 8, block, group), &biased, 4);
    }
  }
  static void unpack(const row_view &row, size_t block, uint8_t *file) {
    memcpy(file, &record_at<offset_record>(row, block).scale[row.lane], 2);
    for (size_t value = 0; value < 32; value++) file[2 + value] = code_dword(row, 8, block, value / 4)[value % 4] ^ 0x80;
  }
};

// Scale, minimum, 12 bytes of 6-bit scales, for 5 bits 32 bytes of fifth bits (bit r of byte i: value i of run r), 128 bytes of nibbles.
template <int bits>
struct affine_k {
  static constexpr size_t codes_at = bits == 5 ? 48 : 16, block_bytes = codes_at + 128;

  static void pack(const row_view &row, size_t block, const uint8_t *file) {
    affine_k_record &scales = record_at<affine_k_record>(row, block);
    memcpy(&scales.scale[row.lane], file, 2);
    memcpy(&scales.minimum[row.lane], file + 2, 2);
    put_scales(scales, row.lane, file + 4);
    for (int run = 0; run < 8; run++) {
      put_split_nibbles(row, block * 8 + run, file + codes_at + run / 2 * 32, run % 2);
      if constexpr (bits == 5) {
        uint32_t high = 0;
        for (int group = 0; group < 8; group++) high |= (word_at(file + 16 + group * 4) >> run & 0x01010101) << group;
        memcpy(high_dword(row, bits, block * 8 + run, 0), &high, 4);
      }
    }
  }

  static void unpack(const row_view &row, size_t block, uint8_t *file) {
    const affine_k_record &scales = record_at<affine_k_record>(row, block);
    memset(file, 0, block_bytes);
    memcpy(file, &scales.scale[row.lane], 2);
    memcpy(file + 2, &scales.minimum[row.lane], 2);
    get_scales(scales, row.lane, file + 4);
    for (int run = 0; run < 8; run++) {
      get_split_nibbles(row, block * 8 + run, file + codes_at + run / 2 * 32, run % 2);
      if constexpr (bits == 5) {
        const uint8_t *high = high_dword(row, bits, block * 8 + run, 0);
        for (int value = 0; value < 32; value++) file[16 + value] = static_cast<uint8_t>(file[16 + value] | (high[value % 4] >> value / 4 & 1) << run);
      }
    }
  }
};

// 128 bytes of nibbles, 64 of bit pairs, 16 scales, scale. Run 4 * half + quarter: nibble quarter / 2 of bytes half * 64 + quarter % 2 * 32 .., pair `quarter` of bytes half * 32 ..
struct q6_k {
  static constexpr size_t block_bytes = 210;

  static void pack(const row_view &row, size_t block, const uint8_t *file) {
    offset_k_record &scales = record_at<offset_k_record>(row, block);
    memcpy(&scales.scale[row.lane], file + 208, 2);
    for (int run = 0; run < 8; run++) {
      const int half = run / 4, quarter = run % 4;
      for (int part = 0; part < 2; part++) scales.factor[run][part][row.lane] = static_cast<int8_t>(file[192 + run * 2 + part]);
      put_split_nibbles(row, block * 8 + run, file + half * 64 + quarter % 2 * 32, quarter / 2);
      const uint8_t *pairs = file + 128 + half * 32;
      for (int part = 0; part < 2; part++) {
        uint32_t high = 0;
        for (int group = 0; group < 4; group++) high |= (word_at(pairs + part * 16 + group * 4) >> 2 * quarter & 0x03030303) << 2 * group;
        memcpy(high_dword(row, 6, block * 8 + run, part), &high, 4);
      }
    }
  }

  static void unpack(const row_view &row, size_t block, uint8_t *file) {
    const offset_k_record &scales = record_at<offset_k_record>(row, block);
    memset(file, 0, block_bytes);
    memcpy(file + 208, &scales.scale[row.lane], 2);
    for (int run = 0; run < 8; run++) {
      const int half = run / 4, quarter = run % 4;
      for (int part = 0; part < 2; part++) file[192 + run * 2 + part] = static_cast<uint8_t>(scales.factor[run][part][row.lane]);
      get_split_nibbles(row, block * 8 + run, file + half * 64 + quarter % 2 * 32, quarter / 2);
      for (int value = 0; value < 32; value++) {
        const int pair = high_dword(row, 6, block * 8 + run, value / 16)[value % 4] >> value % 16 / 4 * 2 & 3;
        uint8_t &byte = file[128 + half * 32 + value];
        byte = static_cast<uint8_t>(byte | pair << 2 * quarter);
      }
    }
  }
};

// ---- choice ----

template <typename Type>
void pack_blocks(const row_view &row, size_t first, size_t count, const uint8_t *bytes) {
  for (size_t block = 0; block < count; block++) Type::pack(row, first + block, bytes + block * Type::block_bytes);
}
template <typename Type>
void unpack_blocks(const row_view &row, size_t first, size_t count, uint8_t *bytes) {
  for (size_t block = 0; block < count; block++) Type::unpack(row, first + block, bytes + block * Type::block_bytes);
}

struct mover {
  uint32_t type;
  size_t block_bytes;
  block_packer pack;
  block_unpacker unpack;
};

template <typename Type>
constexpr mover mover_of(uint32_t type) {
  return {type, Type::block_bytes, pack_blocks<Type>, unpack_blocks<Type>};
}

constexpr mover movers[] = {
    mover_of<floats<4>>(KVQ_F32),           mover_of<floats<2>>(KVQ_F16),           mover_of<floats<2>>(KVQ_BF16),          mover_of<legacy<4, false>>(KVQ_Q4_0),
    mover_of<legacy<4, true>>(KVQ_Q4_1),    mover_of<legacy<5, false>>(KVQ_Q5_0),   mover_of<legacy<5, true>>(KVQ_Q5_1),    mover_of<q8_0>(KVQ_Q8_0),
    mover_of<affine_k<4>>(KVQ_Q4_K),        mover_of<affine_k<5>>(KVQ_Q5_K),        mover_of<q6_k>(KVQ_Q6_K),
};

constexpr const mover *find_mover(uint32_t type) {
  for (const mover &candidate : movers)
    if (candidate.type == type) return &candidate;
  return nullptr;
}

constexpr bool movers_match() {
  for (const format &known : formats)
    if (!find_mover(known.type) || find_mover(known.type)->block_bytes != known.block_bytes) return false;
  return true;
}
static_assert(movers_match());

}  // namespace

block_packer find_packer(uint32_t type) { return find_mover(type)->pack; }
block_unpacker find_unpacker(uint32_t type) { return find_mover(type)->unpack; }

}  // namespace kvq::matmul
