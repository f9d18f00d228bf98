// Tables of page-local key scales in fixed point (AVX-512): 2^bits int16 entries a code, level * scale + zero in units of the pair's grid.
//
// Built anew for every page and head, so in integers: one rounding of scale, zero and product each, 0.4 units together. At one query entries have half the resolution (kvq::single_query_gain).
#pragma once

#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/attend-pages.h"
#include "ops/attend-pages/page-codes.h"

namespace {

using kvq::key_tables;

// Sixteen codes' scales and zero points as int16: in each 128 bits four scales, then their zero points.
struct packed_scales {
  __m512i scales, zeros; /* the same numbers; zero points where the other has scales */
};

struct scale_units {
  __m512 scale, zero;
};

// vpmulhrsw by level 32767 should change nothing.
inline scale_units units_of(float gain) { return {_mm512_set1_ps(32768.0f / 32767.0f / gain), _mm512_set1_ps(1 / gain)}; }

inline packed_scales pack_scales(__m512 scale, __m512 zero, scale_units unit) {
  const __m512i both = _mm512_packs_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(scale, unit.scale)), _mm512_cvtps_epi32(_mm512_mul_ps(zero, unit.zero)));
  return {both, _mm512_shuffle_epi32(both, _MM_PERM_BADC)};
}

// Where the scale of the code of each lane lies in packed_scales, for each zmm of the tables of 16 codes.
template <int bits>
struct scale_order {
  static constexpr int vectors = 1 << (bits - 1);
  alignas(64) int16_t place[vectors][32];
  constexpr scale_order() : place() {
    for (int v = 0; v < vectors; v++)
      for (int lane = 0; lane < 32; lane++) {
        const int code = (v * 32 + lane) >> bits;
        place[v][lane] = static_cast<int16_t>(code / 4 * 8 + code % 4);
      }
  }
};

template <int bits>
inline __attribute__((always_inline)) void store_tables(packed_scales packed, __m512i levels, int16_t *to) {
  static constexpr scale_order<bits> order;
#pragma GCC unroll 16
  for (int v = 0; v < order.vectors; v++) {
    const __m512i place = _mm512_load_si512(order.place[v]);
    _mm512_store_si512(to + v * 32, _mm512_add_epi16(_mm512_mulhrs_epi16(levels, _mm512_permutexvar_epi16(place, packed.scales)), _mm512_permutexvar_epi16(place, packed.zeros)));
  }
}

// Scales and zero points of 16 codes in grid units, from the page's bytes.
struct page_scales {
  __m512 scale, zero;
};

inline page_scales read_scales(const key_tables &key, size_t at, const uint8_t *side, uint32_t code, __m512 mantissas) {
  const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(side + code))), n = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(side + key.head_dim + code)));
  const __m512i power = _mm512_slli_epi32(_mm512_and_si512(e, _mm512_set1_epi32(0xF0)), 19);
  const __m512 scale = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(_mm512_permutexvar_ps(e, mantissas)), power));
  return {_mm512_mul_ps(_mm512_load_ps(key.fixed_scale + at + code), scale), _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_load_ps(key.fixed_step + at + code), _mm512_load_ps(key.fixed_zero + at + code))};
}

// Squared reach of each code's pair: how far its entries can go from 0.
inline __m512 squared_reach(page_scales page) {
  const __m512 reach = _mm512_add_ps(page.scale, _mm512_abs_ps(page.zero)), squares = _mm512_mul_ps(reach, reach);
  return _mm512_add_ps(squares, _mm512_permute_ps(squares, 0xB1));
}

// Builds a page's tables; returns the largest squared reach of a pair: above largest_fixed_key squared entries have saturated.
template <int bits>
float build_tables(const key_tables &key, uint32_t head, const uint8_t *side, float gain, int16_t *table) {
  const __m512i levels = _mm512_load_si512(key.fixed_levels);
  const __m512 mantissas = _mm512_load_ps(sixteenth_powers);
  const scale_units unit = units_of(gain);
  const size_t at = static_cast<size_t>(head) * key.head_dim;
  __m512 most = _mm512_setzero_ps();
#pragma GCC unroll 1
  for (uint32_t code = 0; code < key.head_dim; code += 16) {
    const page_scales page = read_scales(key, at, side, code, mantissas);
    most = _mm512_max_ps(most, squared_reach(page));
    store_tables<bits>(pack_scales(page.scale, page.zero, unit), levels, table + (code << bits));
  }
  return _mm512_reduce_max_ps(most);
}

// The same on a grid of the page's own, which this finds: page_grid [padded_pairs].
template <int bits>
void build_wide_tables(const key_tables &key, uint32_t head, const uint8_t *side, float gain, float *page_grid, int16_t *table) {
  const __m512i levels = _mm512_load_si512(key.fixed_levels);
  const __m512 mantissas = _mm512_load_ps(sixteenth_powers);
  const size_t at = static_cast<size_t>(head) * key.head_dim;
  const scale_units unit = units_of(gain);
  const float *grid = key.grid + static_cast<size_t>(head) * key.padded_pairs;
  for (uint32_t p = 0; p < key.padded_pairs; p++) page_grid[p] = 0;
  for (uint32_t code = 0; code < key.head_dim; code += 16) {
    const page_scales page = read_scales(key, at, side, code, mantissas);
    const __m512 over = _mm512_mul_ps(_mm512_sqrt_ps(squared_reach(page)), _mm512_set1_ps(1 / kvq::largest_fixed_key));
    const __m512 wider = _mm512_max_ps(over, _mm512_set1_ps(1));
    const __m256 by_pair = _mm512_castps512_ps256(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14), wider));
    _mm256_store_ps(page_grid + code / 2, _mm256_mul_ps(by_pair, _mm256_load_ps(grid + code / 2)));
    store_tables<bits>(pack_scales(_mm512_div_ps(page.scale, wider), _mm512_div_ps(page.zero, wider), unit), levels, table + (code << bits));
  }
}

struct table_builder {
  float (*build)(const key_tables &key, uint32_t head, const uint8_t *side, float gain, int16_t *table);
  void (*build_wide)(const key_tables &key, uint32_t head, const uint8_t *side, float gain, float *page_grid, int16_t *table);
};

inline table_builder builder_of(uint32_t bits) {
  switch (bits) {
    case 2: return {build_tables<2>, build_wide_tables<2>};
    case 3: return {build_tables<3>, build_wide_tables<3>};
    case 4: return {build_tables<4>, build_wide_tables<4>};
    default: return {build_tables<5>, build_wide_tables<5>};
  }
}

// A layer's tables at the resolution of a single query.
inline void shrink_tables(const key_tables &key, const int16_t *from, int16_t *to) {
  const __m512i factor = _mm512_set1_epi16(static_cast<short>(32768.0f / kvq::single_query_gain));
  for (uint32_t i = 0; i < key.head_dim << key.bits; i += 32) _mm512_store_si512(to + i, _mm512_mulhrs_epi16(_mm512_load_si512(from + i), factor));
}

}  // namespace
