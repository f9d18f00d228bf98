// Scalar readers of a page's codes and outliers, as docs/format.md draws them. Private copies in every file that includes it.
#pragma once

#include <cstring>

#include "ops/attend-pages/attend-pages.h"
#include "ops/common/half.h"

namespace {

// Bit position of a code in its word and the word, for codes that lie in one word.
struct code_place {
  uint32_t word, shift;
};

inline uint32_t codes_in_word(uint32_t bits) { return bits == 4 ? 4 : bits == 2 ? 8 : bits == 3 ? 5 : 3; }

inline uint16_t key_word(const uint8_t *group, uint32_t word, uint32_t lane) {
  uint16_t value;
  std::memcpy(&value, group + (word * 64 + lane) * 2, 2);
  return value;
}

// Codes of code index `code` for 64 lanes of a head. Lanes 0..31 are tokens 31..0, lanes 32..63 tokens 32..63.
inline void read_key_codes(const uint8_t *codes, uint32_t bits, uint32_t code, uint8_t *out) {
  const uint8_t *group = codes + code / 16 * (bits * 128);
  const uint32_t mask = (1u << bits) - 1, in_group = code % 16, in_word = codes_in_word(bits);
  if (in_group < in_word * bits) {
    const uint32_t word = in_group / in_word, shift = in_group % in_word * bits;
    for (uint32_t lane = 0; lane < 64; lane++) out[lane] = static_cast<uint8_t>(key_word(group, word, lane) >> shift & mask);
    return;
  }
  for (uint32_t lane = 0; lane < 64; lane++) {  // the last code of 3 and 5 bits: one bit of every word
    uint32_t value = 0;
    for (uint32_t word = 0; word < bits; word++) value |= static_cast<uint32_t>(key_word(group, word, lane) >> 15) << word;
    out[lane] = static_cast<uint8_t>(value);
  }
}

// The vector of 16 channels x 4 tokens at place `vector` of a value head: 64 codes, lane 4 * channel + token.
inline void read_value_codes(const uint8_t *codes, uint32_t bits, uint32_t vector, uint8_t *out) {
  const uint32_t in_unit = bits == 4 ? 2 : bits == 2 ? 4 : 8, unit_bytes = bits == 4 || bits == 2 ? 64 : bits * 64, mask = (1u << bits) - 1;
  const uint8_t *unit = codes + vector / in_unit * unit_bytes;
  const uint32_t v = vector % in_unit;
  for (uint32_t lane = 0; lane < 64; lane++) {
    const uint8_t *b = unit + lane;
    const auto byte = [b](uint32_t i) { return static_cast<uint32_t>(b[i * 64]); };
    uint32_t value;
    if (bits == 4) value = byte(0) >> 4 * v;
    else if (bits == 2) value = byte(0) >> 2 * v;
    else if (bits == 3) value = v < 6 ? byte(v / 2) >> 3 * (v & 1) : v == 6 ? byte(0) >> 6 | (byte(2) >> 6 & 1) << 2 : byte(1) >> 6 | byte(2) >> 7 << 2;
    else if (v < 5) value = byte(v);
    else if (v == 5) value = byte(0) >> 5 | (byte(3) >> 5 & 3) << 3;
    else if (v == 6) value = byte(1) >> 5 | (byte(4) >> 5 & 3) << 3;
    else value = byte(2) >> 5 | byte(3) >> 7 << 3 | byte(4) >> 7 << 4;
    out[lane] = static_cast<uint8_t>(value & mask);
  }
}

inline uint32_t lane_of_token(uint32_t token) { return token < 32 ? 31 - token : token; }

// Calls visit(token, index, delta) for every outlier of a head's section.
template <typename Visit>
inline void each_outlier(const uint8_t *section, uint32_t tokens, Visit visit) {
  uint32_t count = 0;
  for (uint32_t t = 0; t < KVQ_PAGE_TOKENS; t++) count += section[t / 2] >> 4 * (t & 1) & 15;
  const uint8_t *deltas = section + 32, *indices = deltas + 2 * static_cast<size_t>(count);
  for (uint32_t t = 0, i = 0; t < tokens; t++) {
    for (uint32_t end = i + (section[t / 2] >> 4 * (t & 1) & 15); i < end; i++) {
      uint16_t half;
      std::memcpy(&half, deltas + 2 * i, 2);
      visit(t, indices[i], float_of_half(half));
    }
  }
}

inline float token_number(const kvq_block_layout &layout, const uint8_t *block, uint32_t array, uint32_t token) {
  uint16_t half;
  std::memcpy(&half, block + kvq_token_data_offset(&layout) + (array * KVQ_PAGE_TOKENS + token) * 2, 2);
  return float_of_half(half);
}

// fp32(2^(i / 16))
alignas(64) constexpr float sixteenth_powers[16] = {1.0f,         1.04427378243f, 1.09050773267f, 1.13878863476f, 1.18920711500f, 1.24185781207f, 1.29683955466f, 1.35425554694f,
                                                    1.41421356237f, 1.47682614594f, 1.54221082541f, 1.61049033195f, 1.68179283051f, 1.75625216037f, 1.83400808641f, 1.91520656140f};

// Scale and zero point of a code: the layer's, or the page's.
inline void key_scale(const kvq::key_tables &key, uint32_t head, const uint8_t *side, uint32_t code, float &scale, float &zero) {
  const size_t at = static_cast<size_t>(head) * key.head_dim + code;
  scale = key.scale[at];
  zero = key.zero[at];
  if (!key.page_scales) return;
  const int exponent = side[code] - 192, n = side[key.head_dim + code] - 128;
  const float a = scale, power = sixteenth_powers[exponent & 15];
  scale = a * (power * (exponent >= 0 ? static_cast<float>(1 << (exponent >> 4)) : 1.0f / static_cast<float>(1 << -(exponent >> 4))));
  zero = zero + a * static_cast<float>(n) / 64;
}

}  // namespace
