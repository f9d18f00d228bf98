// The inner loop of fixed point values: two groups of 16 channels at a time, decoded in registers (vpermb into the int8 levels) and added to all queries with vpdpbusd, high and low byte of the
// weight. 4 G multiplications for 2 lookups and a shift: on Zen 4, one multiplication a cycle, the lookups fit beside them from G = 2 on.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/attend-pages.h"
#include "ops/attend-pages/repeat.h"
#include "ops/attend-pages/value-codes.avx512.h"
#include "ops/attend-pages/values-fixed.h"

namespace {

using kvq::avx512::fixed_value_kernel;
using kvq::avx512::fixed_value_pages;

inline __attribute__((always_inline)) __m512i four_weights(const uint8_t *bytes) {
  int32_t four;
  __builtin_memcpy(&four, bytes, 4);
  return _mm512_set1_epi32(four);
}

template <int queries>
struct sums_of {
  __m512i at[2][queries][2];
};

// Adds vectors 2 * phase and 2 * phase + 1 of a unit, 4 tokens of 32 channels.
template <int bits, int phase, int queries>
inline __attribute__((always_inline)) void add_quad(sums_of<queries> &sum, const uint8_t *unit, const uint8_t *bytes, __m512i levels) {
  const __m512i first = _mm512_permutexvar_epi8(unit_vector<bits, 2 * phase>(unit), levels), second = _mm512_permutexvar_epi8(unit_vector<bits, 2 * phase + 1>(unit), levels);
  repeat<queries>([&](auto g) __attribute__((always_inline)) {
    const __m512i high = four_weights(bytes + g * 2 * kvq::chunk_tokens), low = four_weights(bytes + (g * 2 + 1) * kvq::chunk_tokens);
    sum.at[0][g][0] = _mm512_dpbusd_epi32(sum.at[0][g][0], high, first);
    sum.at[1][g][0] = _mm512_dpbusd_epi32(sum.at[1][g][0], high, second);
    sum.at[0][g][1] = _mm512_dpbusd_epi32(sum.at[0][g][1], low, first);
    sum.at[1][g][1] = _mm512_dpbusd_epi32(sum.at[1][g][1], low, second);
  });
}

// All 16 quads of the pages for one pair of groups. `split`: a unit covers two quads (3 and 5 bits at head dim 64), the odd one two phases on.
template <int bits, int phase, bool split, int queries>
void add_pair(const fixed_value_pages &pages, uint32_t group) {
  constexpr size_t unit_bytes = 64 * unit_words(bits);
  const size_t quad_bytes = split ? unit_bytes : pages.groups / unit_vectors(bits) * unit_bytes, offset = split ? 0 : group / unit_vectors(bits) * unit_bytes;
  const __m512i levels = _mm512_load_si512(pages.levels);
  int32_t *to = pages.sums + group * pages.sum_stride;
  sums_of<queries> sum;
  repeat<4 * queries>([&](auto i) __attribute__((always_inline)) {
    constexpr int c = i % 2, g = i / 4, k = i / 2 % 2;
    sum.at[c][g][k] = _mm512_load_si512(to + c * pages.sum_stride + (g * 2 + k) * 16);
  });
  for (int i = 0; i < pages.count; i++) {
    const uint8_t *unit = pages.codes[i] + offset, *bytes = pages.bytes + i * KVQ_PAGE_TOKENS, *ahead = pages.ahead[i] + group * 128 * bits;
#pragma GCC unroll 1
    for (int block = 0; block < 4; block++, ahead += 64 * bits) {
      for (int line = 0; line < bits; line++) _mm_prefetch(reinterpret_cast<const char *>(ahead + 64 * line), _MM_HINT_T0);
#pragma GCC unroll 2
      for (int quad = 0; quad < 4; quad += 2, bytes += 8, unit += split ? quad_bytes : 2 * quad_bytes) {
        add_quad<bits, phase, queries>(sum, unit, bytes, levels);
        add_quad<bits, split ? phase + 2 : phase, queries>(sum, split ? unit : unit + quad_bytes, bytes + 4, levels);
      }
    }
  }
  repeat<4 * queries>([&](auto i) __attribute__((always_inline)) {
    constexpr int c = i % 2, g = i / 4, k = i / 2 % 2;
    _mm512_store_si512(to + c * pages.sum_stride + (g * 2 + k) * 16, sum.at[c][g][k]);
  });
}

template <int bits, bool split, int queries>
void add_pages(const fixed_value_pages &pages) {
  constexpr int phases = split ? 2 : unit_vectors(bits) / 2;
  for (uint32_t group = 0; group < pages.groups; group += 2 * phases) {
    add_pair<bits, 0, split, queries>(pages, group);
    if constexpr (phases > 1) add_pair<bits, 1, split, queries>(pages, group + 2);
    if constexpr (phases > 2) {
      add_pair<bits, 2, split, queries>(pages, group + 4);
      add_pair<bits, 3, split, queries>(pages, group + 6);
    }
  }
}

template <int bits, bool split>
fixed_value_kernel *kernel_for(uint32_t queries) {
  switch (queries) {
    case 1: return add_pages<bits, split, 1>;
    case 2: return add_pages<bits, split, 2>;
    case 3: return add_pages<bits, split, 3>;
    case 4: return add_pages<bits, split, 4>;
    case 5: return add_pages<bits, split, 5>;
    default: return add_pages<bits, split, 6>;
  }
}

}  // namespace

kvq::avx512::fixed_value_kernel *kvq::avx512::fixed_value_kernel_of(uint32_t bits, uint32_t groups, uint32_t queries) {
  if (bits == 4 && groups % 2 == 0) return kernel_for<4, false>(queries);
  if (bits == 2 && groups % 4 == 0) return kernel_for<2, false>(queries);
  if (bits == 3 && groups % 8 == 0) return kernel_for<3, false>(queries);
  if (bits == 5 && groups % 8 == 0) return kernel_for<5, false>(queries);
  if (bits == 3 && groups == 4) return kernel_for<3, true>(queries);
  if (bits == 5 && groups == 4) return kernel_for<5, true>(queries);
  return nullptr;
}
#endif
