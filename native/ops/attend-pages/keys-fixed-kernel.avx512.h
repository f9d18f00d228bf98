// The inner loop of fixed point scores: q . k for 64 tokens and 1 to 8 queries, 16 pairs at a time in int32, then fp32.
//
// A pair's two codes are looked up (vpermw) as int16 keys. Two or more queries: the keys are rotated by the angle of their token around the page's middle (4 vpmulhrsw for 32 tokens, shared by all
// queries), interleaved and multiplied (vpdpwssd). One query: the query is rotated instead, products shared by the tokens at +angle and -angle. Zen 4 runs one 512-bit multiplication a cycle: that is
// the limit for groups (8 + 4 G multiplications for a pair and 64 tokens).
#pragma once

#include "ops/attend-pages/attend-pages.h"
#include "ops/attend-pages/key-codes.avx512.h"
#include "ops/attend-pages/keys-fixed.h"
#include "ops/attend-pages/repeat.h"

namespace {

using kvq::avx512::fixed_page;

// vpunpck leaves lanes 8i+j in the low and 8i+4+j in the high half (j < 4). Where tokens 16 o .. 16 o + 15 of vector v lie in (low, high): lanes of vector 0 are tokens 31 .. 0.
struct token_order {
  alignas(64) int32_t place[2][2][16];
  constexpr token_order() : place() {
    for (int v = 0; v < 2; v++)
      for (int o = 0; o < 2; o++)
        for (int t = 0; t < 16; t++) {
          const int token = 16 * o + t, lane = v ? token : 31 - token;
          place[v][o][t] = ((lane >> 2) & 1) * 16 + (lane >> 3) * 4 + (lane & 3);
        }
  }
};
constexpr token_order order;

// Table of a code, 2^bits entries, repeated: a lookup uses 5 index bits.
template <int bits>
inline __attribute__((always_inline)) __m512i load_table(const int16_t *table, int code) {
  const int16_t *entries = table + (code << bits);
  if constexpr (bits == 2) {
    int64_t four;
    __builtin_memcpy(&four, entries, 8);
    return _mm512_set1_epi64(four);
  }
  else if constexpr (bits == 3) return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i *>(entries)));
  else if constexpr (bits == 4) return _mm512_broadcast_i64x4(_mm256_load_si256(reinterpret_cast<const __m256i *>(entries)));
  else return _mm512_load_si512(entries);
}

template <int bits, int queries>
void score_page(const fixed_page &page) {
  constexpr int vectors = queries <= 4 ? 2 : 1;
  constexpr size_t group_bytes = 128 * bits;
  alignas(64) float flushed[queries][2][2][16];
#pragma GCC unroll 1
  for (int base = 0; base < 2; base += vectors) {
#pragma GCC unroll 1
    for (uint32_t first = 0; first < page.groups; first += 2) {
      __m512i sums[queries][vectors][2];
      repeat<queries * vectors>([&](auto i) __attribute__((always_inline)) { sums[i / vectors][i % vectors][0] = sums[i / vectors][i % vectors][1] = _mm512_setzero_si512(); });
      const uint32_t last = first + 2 < page.groups ? first + 2 : page.groups;
#pragma GCC unroll 1
      for (uint32_t group = first; group < last; group++) {
        if (base == 0) {
          for (size_t i = 0; i < group_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char *>(page.ahead + group * group_bytes + i), _MM_HINT_T1);
          for (uint32_t line = 0; line < page.values_lines; line++) _mm_prefetch(reinterpret_cast<const char *>(page.values_ahead + (group * page.values_lines + line) * 64), _MM_HINT_T1);
        }
        const int16_t *table = page.table + (group * 16 << bits), *angles = page.angles + group * 8 * (queries == 1 ? 128 : 64);
        const uint32_t *fixed = page.fixed + group * 8, *swapped = page.swapped + group * 8;
        each_pair<bits, vectors>(page.codes + group * group_bytes + 64 * base, [&](int pair, const __m512i *first_index, const __m512i *second_index) __attribute__((always_inline)) {
          const __m512i first_table = load_table<bits>(table, 2 * pair), second_table = load_table<bits>(table, 2 * pair + 1);
          if constexpr (queries == 1) {
            const __m512i q = _mm512_set1_epi32(static_cast<int>(fixed[pair])), r = _mm512_set1_epi32(static_cast<int>(swapped[pair]));
            const int16_t *angle = angles + pair * 128;
            const __m512i x0 = _mm512_mulhrs_epi16(q, _mm512_load_si512(angle)), y0 = _mm512_mulhrs_epi16(r, _mm512_load_si512(angle + 32));
            const __m512i x1 = _mm512_mulhrs_epi16(q, _mm512_load_si512(angle + 64)), y1 = _mm512_mulhrs_epi16(r, _mm512_load_si512(angle + 96));
            repeat<2>([&](auto v) __attribute__((always_inline)) {
              const __m512i a = _mm512_permutexvar_epi16(first_index[v], first_table), b = _mm512_permutexvar_epi16(second_index[v], second_table);
              const __m512i low = v ? _mm512_add_epi16(x0, y0) : _mm512_sub_epi16(x0, y0), high = v ? _mm512_add_epi16(x1, y1) : _mm512_sub_epi16(x1, y1);
              sums[0][v][0] = _mm512_dpwssd_epi32(sums[0][v][0], _mm512_unpacklo_epi16(a, b), low);
              sums[0][v][1] = _mm512_dpwssd_epi32(sums[0][v][1], _mm512_unpackhi_epi16(a, b), high);
            });
          } else {
            const __m512i cosine = _mm512_load_si512(angles + pair * 64), sine = _mm512_load_si512(angles + pair * 64 + 32);
            repeat<vectors>([&](auto v) __attribute__((always_inline)) {
              const __m512i a = _mm512_permutexvar_epi16(first_index[v], first_table), b = _mm512_permutexvar_epi16(second_index[v], second_table);
              const __m512i ac = _mm512_mulhrs_epi16(a, cosine), bs = _mm512_mulhrs_epi16(b, sine), bc = _mm512_mulhrs_epi16(b, cosine), as = _mm512_mulhrs_epi16(a, sine);
              __m512i x, y;
              if (base + v) x = _mm512_sub_epi16(ac, bs), y = _mm512_add_epi16(bc, as);
              else x = _mm512_add_epi16(ac, bs), y = _mm512_sub_epi16(bc, as);
              const __m512i low = _mm512_unpacklo_epi16(x, y), high = _mm512_unpackhi_epi16(x, y);
              repeat<queries>([&](auto g) __attribute__((always_inline)) {
                const __m512i q = _mm512_set1_epi32(static_cast<int>(fixed[g * static_cast<int>(kvq::fixed_stride) + pair]));
                sums[g][v][0] = _mm512_dpwssd_epi32(sums[g][v][0], low, q);
                sums[g][v][1] = _mm512_dpwssd_epi32(sums[g][v][1], high, q);
              });
            });
          }
        });
      }
      const __mmask16 earlier = first == 0 ? 0 : 0xffff;
      repeat<queries * vectors * 2>([&](auto i) __attribute__((always_inline)) {
        constexpr int g = i / (2 * vectors), v = i / 2 % vectors, half = i % 2;
        float *to = flushed[g][base + v][half];
        _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[g][v][half]), _mm512_set1_ps(page.inverse[g * 16 + first / 2]), _mm512_maskz_load_ps(earlier, to)));
      });
    }
  }
#pragma GCC unroll 1
  for (int g = 0; g < queries; g++) {
    for (int v = 0; v < 2; v++) {
      const __m512 low = _mm512_load_ps(flushed[g][v][0]), high = _mm512_load_ps(flushed[g][v][1]);
      for (int o = 0; o < 2; o++) {
        __m512 x = _mm512_permutex2var_ps(low, _mm512_load_si512(order.place[v][o]), high);
        if (page.added != nullptr) x = _mm512_add_ps(x, _mm512_load_ps(page.added + g * 64 + 32 * v + 16 * o));
        _mm512_store_ps(page.scores + g * kvq::chunk_tokens + 32 * v + 16 * o, x);
      }
    }
  }
}

template <int bits>
kvq::avx512::fixed_kernel *kernel_for(uint32_t queries) {
  switch (queries) {
    case 1: return score_page<bits, 1>;
    case 2: return score_page<bits, 2>;
    case 3: return score_page<bits, 3>;
    case 4: return score_page<bits, 4>;
    case 5: return score_page<bits, 5>;
    case 6: return score_page<bits, 6>;
    case 7: return score_page<bits, 7>;
    default: return score_page<bits, 8>;
  }
}

}  // namespace
