// Lanes of one number: what the codec's templates mean, in plain C++. lanes.avx2.h and lanes.avx512.h offer the same names with more lanes; every lane
// does these operations in this order, so that all of them give the same bits.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "pages are little-endian");

namespace {

struct lanes {
  // ---- 32-bit lanes; they add, subtract and multiply with operators ----
  static constexpr uint32_t width = 1;
  // Vectors of a row that feedback rounding works on at once.
  static constexpr uint32_t strip_vectors = 4;
  using floats = float;
  using codes = uint32_t;

  static floats load(const float *from) { return *from; }
  static void store(float *to, floats x) { *to = x; }
  static floats all(float x) { return x; }
  // The same number, which the compiler then keeps in a register instead of loading it for each use.
  static floats in_register(floats x) { return x; }
  static floats minimum(floats a, floats b) { return b < a ? b : a; }
  static floats maximum(floats a, floats b) { return b > a ? b : a; }
  static floats absolute(floats x) { return __builtin_fabsf(x); }
  // Bit l: a < b in lane l.
  static uint32_t less(floats a, floats b) { return a < b; }
  // Lane l: a where bit l is set, else b.
  static floats select(uint32_t bits, floats a, floats b) { return bits & 1 ? a : b; }

  static codes load_codes(const uint8_t *from) { return *from; }
  static void store_codes(uint8_t *to, codes x) { *to = (uint8_t)x; }

  // Levels of a quantizer and the midpoints between them.
  template <uint32_t Bits>
  struct book {
    const float *middle, *level;
    book(const float *midpoints, const float *levels) : middle(midpoints), level(levels) {}
    // Count of midpoints below x; 0 for NaN.
    codes find(floats x) const {
      codes code = 0;
      for (uint32_t index = 0; index + 1 < 1u << Bits; index++) code += middle[index] < x;
      return code;
    }
    floats decode(codes code) const { return level[code]; }
  };

  // Transposes a square of `width` x `width` 4-byte numbers; strides in bytes.
  static void transpose(const uint8_t *from, size_t from_stride, uint8_t *to, size_t to_stride) {
    (void)from_stride, (void)to_stride;
    memcpy(to, from, 4);
  }

  // ---- 16-bit lanes; they shift and combine with operators ----
  static constexpr uint32_t word_width = 1;
  using words = uint16_t;

  static words load_words(const uint8_t *from) {
    words x;
    memcpy(&x, from, 2);
    return x;
  }
  static void store_words(uint8_t *to, words x) { memcpy(to, &x, 2); }
  // The codes of 64 tokens as words in the order of a key page: lanes 0 .. 31 hold tokens 31 .. 0, lanes 32 .. 63 tokens 32 .. 63. `lane`: the first one.
  static words load_key_lanes(const uint8_t *tokens, uint32_t lane) { return tokens[lane < 32 ? 31 - lane : lane]; }
  static void store_key_lanes(uint8_t *tokens, uint32_t lane, words x) { tokens[lane < 32 ? 31 - lane : lane] = (uint8_t)x; }
};

}  // namespace
