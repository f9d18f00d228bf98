// The page loop of fixed point scores: query and table of each page, then the kernel.
//
// Page-local scales: the grid of a pair is fixed for the layer (calibrated range and a third more), so that queries keep one factor for the whole call. A page with a pair beyond that reach, which the
// squared reaches found while its scales are read tell, gets a grid and query of its own: exact to the same relative precision, about a microsecond slower.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/keys-fixed.avx512.h"

#include "ops/attend-pages/keys-fixed.h"
#include "ops/attend-pages/outliers.avx512.h"
#include "ops/attend-pages/sub-groups.h"

namespace {

using kvq::key_tables;
using kvq::workspace;

// re, im -> int16 pairs in slot `slot`.
void pack_query(const workspace &work, const float *factor, uint32_t padded, uint32_t slot) {
  for (uint32_t g = 0; g < work.group; g++) {
    uint32_t *fixed = work.fixed + (slot * work.group + g) * kvq::fixed_stride, *swapped = work.swapped + slot * kvq::fixed_stride;
    for (uint32_t p = 0, i = g * padded; p < padded; p += 16, i += 16) {
      const __m512 unit = _mm512_load_ps(factor + i);
      const __m512i re = _mm512_cvtps_epi32(_mm512_mul_ps(unit, _mm512_load_ps(work.re + i))), im = _mm512_cvtps_epi32(_mm512_mul_ps(unit, _mm512_load_ps(work.im + i)));
      const __m512i both = _mm512_mask_blend_epi16(0xAAAAAAAA, re, _mm512_slli_epi32(im, 16));
      _mm512_store_si512(fixed + p, both);
      if (work.group == 1) _mm512_store_si512(swapped + p, _mm512_ror_epi32(both, 16));
    }
  }
}

// Turns the query back by a page of 64 tokens.
void step_query(const kvq_rope &rope, workspace &work, uint32_t pairs, uint32_t padded) {
  for (uint32_t p = 0; p < padded; p += 16) {
    const __mmask16 used = p + 16 <= pairs ? __mmask16(0xffff) : static_cast<__mmask16>((1u << (pairs - p)) - 1);
    const __m512 c = _mm512_maskz_loadu_ps(used, rope.page_cos + p), s = _mm512_maskz_loadu_ps(used, rope.page_sin + p);
    const __m512 cosine = _mm512_load_ps(work.cosine + p), sine = _mm512_load_ps(work.sine + p);
    _mm512_store_ps(work.cosine + p, _mm512_fmadd_ps(sine, s, _mm512_mul_ps(cosine, c)));
    _mm512_store_ps(work.sine + p, _mm512_fmsub_ps(sine, c, _mm512_mul_ps(cosine, s)));
    for (uint32_t g = 0; g < work.group; g++) {
      float *re = work.re + g * padded + p, *im = work.im + g * padded + p;
      const __m512 a = _mm512_load_ps(re), b = _mm512_load_ps(im);
      _mm512_store_ps(re, _mm512_fmadd_ps(b, s, _mm512_mul_ps(a, c)));
      _mm512_store_ps(im, _mm512_fmsub_ps(b, c, _mm512_mul_ps(a, s)));
    }
  }
  work.start += KVQ_PAGE_TOKENS;
  work.steps++;
}

void seek_query(const kvq_attention_tables *tables, workspace &work, uint64_t start) {
  if (start == work.start) return;
  if (start == work.start + KVQ_PAGE_TOKENS && work.steps < tables->kernels->resync) step_query(*tables->rope, work, tables->key.pairs, tables->key.padded_pairs);
  else kvq::turn_query(tables, work, start);
}

// Scales and zero points of a page in grid units; the largest squared reach of a pair.
float read_page_scales(const key_tables &key, uint32_t head, const uint8_t *side, float *scale, float *zero) {
  const __m512 mantissas = _mm512_load_ps(sixteenth_powers);
  __m512 most = _mm512_setzero_ps();
  const size_t at = static_cast<size_t>(head) * key.head_dim;
  for (uint32_t j = 0; j < key.head_dim; j += 16) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(side + j)));
    const __m512i n = _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(side + key.head_dim + j))), _mm512_set1_epi32(128));
    const __m512i power = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_srli_epi32(e, 4), _mm512_set1_epi32(12)), 23);
    const __m512 s = _mm512_mul_ps(_mm512_load_ps(key.fixed_scale + at + j), _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(_mm512_permutexvar_ps(e, mantissas)), power)));
    const __m512 z = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_load_ps(key.fixed_step + at + j), _mm512_load_ps(key.fixed_zero + at + j));
    const __m512 r = _mm512_add_ps(s, _mm512_abs_ps(z)), squares = _mm512_mul_ps(r, r);
    most = _mm512_max_ps(most, _mm512_add_ps(squares, _mm512_permute_ps(squares, 0xB1)));
    _mm512_store_ps(scale + j, s);
    _mm512_store_ps(zero + j, z);
  }
  return _mm512_reduce_max_ps(most);
}

// Grid, query and scales of a page beyond the layer's grid.
void widen_page(const kvq_attention_tables *tables, uint32_t head, workspace &work, uint64_t start, uint32_t slot) {
  const key_tables &key = tables->key;
  const float *grid = key.grid + static_cast<size_t>(head) * key.padded_pairs;
  for (uint32_t p = 0; p < key.padded_pairs; p++) work.page_grid[p] = 0;
  for (uint32_t p = 0; p < key.pairs; p++) {
    float squares = 0;
    for (uint32_t j = 2 * p; j < 2 * p + 2; j++) {
      const float reach = (work.page_zero[j] < 0 ? -work.page_zero[j] : work.page_zero[j]) + work.page_scale[j];
      squares += reach * reach;
    }
    const float over = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(squares))) / kvq::largest_fixed_key, wider = over > 1 ? over : 1;
    work.page_grid[p] = grid[p] * wider;
    for (uint32_t j = 2 * p; j < 2 * p + 2; j++) work.page_scale[j] /= wider, work.page_zero[j] /= wider;
  }
  kvq::fit_query(work, work.page_grid, key.padded_pairs, kvq::query_gain(work.group), work.page_factor, work.page_inverse);
  const uint64_t ahead = work.start;
  kvq::turn_query(tables, work, start);
  pack_query(work, work.page_factor, key.padded_pairs, slot);
  if (ahead != start) kvq::turn_query(tables, work, ahead);
}

// Entries = level * scale + zero in int16: one rounding of each (0.4 grid units together) for a fraction of the time of fp32 arithmetic (measured on Zen 4, head dim 128: 1.7 ns a token less at one query).
template <int bits>
void build_page_table(const key_tables &key, const float *scales, const float *zeros, float gain, int16_t *table) {
  constexpr int zmm_codes = bits == 5 ? 1 : 2;  // 16 entries of two codes, or 32 of one
  const __m512i levels = _mm512_load_si512(key.fixed_levels);
  const __m512 inverse = _mm512_set1_ps(1 / gain), one = _mm512_set1_ps(32768.0f / 32767.0f / gain);  // so that vpmulhrsw by level 1 changes nothing
  for (uint32_t first = 0; first < key.head_dim; first += 16) {
    const __m512i scale = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(one, _mm512_load_ps(scales + first)))));
    const __m512i zero = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(inverse, _mm512_load_ps(zeros + first)))));
    int16_t *to = table + first * (32 / zmm_codes);
#pragma GCC unroll 16
    for (int code = 0; code < 16; code += zmm_codes, to += 32) {
      const __m512i lane = _mm512_mask_blend_epi16(0xFFFF0000, _mm512_set1_epi16(static_cast<short>(code)), _mm512_set1_epi16(static_cast<short>(code + zmm_codes - 1)));
      _mm512_store_si512(to, _mm512_add_epi16(_mm512_mulhrs_epi16(levels, _mm512_permutexvar_epi16(lane, scale)), _mm512_permutexvar_epi16(lane, zero)));
    }
  }
}

void build_table(const key_tables &key, const float *scale, const float *zero, float gain, int16_t *table) {
  if (key.bits == 5) build_page_table<5>(key, scale, zero, gain, table);
  else build_page_table<4>(key, scale, zero, gain, table);
}

// A layer's table at the resolution of a single query (kvq::single_query_gain).
void shrink_table(const key_tables &key, const int16_t *from, int16_t *to) {
  const __m512i factor = _mm512_set1_epi16(static_cast<short>(32768.0f / kvq::single_query_gain));
  for (uint32_t i = 0; i < key.head_dim * key.entries; i += 32) _mm512_store_si512(to + i, _mm512_mulhrs_epi16(_mm512_load_si512(from + i), factor));
}

}  // namespace

void kvq::avx512::fixed_scores(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run) {
  const key_tables &key = tables->key;
  const uint32_t padded = key.padded_pairs, group = work.group;
  const size_t head_offset = kvq_head_offset(&key.layout, head), layer_table = static_cast<size_t>(head) * key.head_dim * key.entries;
  int16_t *page_table = reinterpret_cast<int16_t *>(work.table);
  const bool first_chunk = !work.primed;
  if (first_chunk) {
    pack_query(work, work.factor, padded, 0);
    if (!key.page_scales && group == 1) shrink_table(key, key.fixed_table + layer_table, page_table);
    if (key.layout.outliers) lay_out_queries(tables, work);
    work.primed = 1;
  }
  for (size_t i = 0; i < run.count; i++) {
    const kvq_page_view &view = run.pages[i];
    const size_t left = run.count - i - 1 + run.following;
    const uint32_t slot = work.slot;
    if (key.layout.outliers) {
      score_outliers(tables, head, work, view);  // before the query moves on
      if (left > 0) {
        const uint8_t *ahead = run.pages[i + 1].key + run.pages[i + 1].key_outliers[head];
        for (uint32_t b = 0; b < 32 + 2 * key.head_dim; b += 64) _mm_prefetch(reinterpret_cast<const char *>(ahead + b), _MM_HINT_T0);
      }
    }
    // The next page's query a page ahead of its use: its stores are done when the kernel broadcasts from them.
    if (left > 0) {
      seek_query(tables, work, run.pages[i + 1].start);
      pack_query(work, work.factor, padded, slot ^ 1);
    }
    work.slot = slot ^ 1;
    const uint8_t *numbers = view.value + kvq_token_data_offset(&tables->value.layout);  // wanted when this chunk's scores are done
    for (uint32_t b = 0; b < tables->value.layout.token_arrays * KVQ_PAGE_TOKENS * 2; b += 64) _mm_prefetch(reinterpret_cast<const char *>(numbers + b), _MM_HINT_T1);
    if (first_chunk && i < value_pages_ahead) {
      const uint8_t *codes = view.value + kvq_head_offset(&tables->value.layout, head);
      for (uint32_t b = 0; b < tables->value.layout.codes_bytes; b += 64) _mm_prefetch(reinterpret_cast<const char *>(codes + b), _MM_HINT_T1);
    }
    fixed_page page{};
    page.codes = view.key + head_offset;
    page.ahead = run.pages[i + (left < key_pages_ahead ? left : key_pages_ahead)].key + head_offset;
    page.table = key.page_scales || group == 1 ? page_table : key.fixed_table + layer_table;
    page.groups = key.head_dim / 16;
    const float *inverse = work.inverse;
    if (key.page_scales) {
      const uint8_t *side_ahead = page.ahead + key.layout.codes_bytes;
      for (uint32_t j = 0; j < key.layout.side_bytes; j += 64) _mm_prefetch(reinterpret_cast<const char *>(side_ahead + j), _MM_HINT_T1);
      if (read_page_scales(key, head, page.codes + key.layout.codes_bytes, work.page_scale, work.page_zero) > largest_fixed_key * largest_fixed_key * 1.0001f) {
        widen_page(tables, head, work, view.start, slot);
        inverse = work.page_inverse;
      }
      build_table(key, work.page_scale, work.page_zero, query_gain(group), page_table);
    }
    for (uint32_t first = 0, part; first < group; first += part) {
      part = next_part(group - first, most_fixed_queries);
      page.angles = part == 1 ? key.query_angles : tables->rope->offset_fixed;
      page.fixed = work.fixed + (slot * group + first) * fixed_stride;
      page.swapped = work.swapped + slot * fixed_stride;
      page.inverse = inverse + first * 16;
      page.added = key.layout.outliers ? work.added + first * KVQ_PAGE_TOKENS : nullptr;
      page.scores = work.scores + first * chunk_tokens + i * KVQ_PAGE_TOKENS;
      fixed_kernel_of(key.bits, part)(page);
    }
  }
}
#endif
