// The fixed point query (AVX-512): int16 pairs in units of a factor for each pair, turned page by page.
#pragma once

#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/attend-pages.h"

namespace {

using kvq::workspace;

inline void store_pairs(workspace &work, uint32_t slot, uint32_t g, uint32_t pair, __m512 re, __m512 im) {
  const __m512i both = _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_cvtps_epi32(re), _mm512_slli_epi32(_mm512_cvtps_epi32(im), 16));
  _mm512_store_si512(work.fixed + (slot * work.group + g) * kvq::fixed_stride + pair, both);
  if (work.group == 1) _mm512_store_si512(work.swapped + slot * kvq::fixed_stride + pair, _mm512_ror_epi32(both, 16));
}

// Multiplies a freshly turned query by its factors and packs it into a slot.
inline void pack_query(workspace &work, const float *factor, uint32_t padded, uint32_t slot) {
  for (uint32_t g = 0; g < work.group; g++) {
    for (uint32_t p = 0; p < padded; p += 16) {
      float *re = work.re + g * padded + p, *im = work.im + g * padded + p;
      const __m512 unit = _mm512_load_ps(factor + g * padded + p), a = _mm512_mul_ps(unit, _mm512_load_ps(re)), b = _mm512_mul_ps(unit, _mm512_load_ps(im));
      _mm512_store_ps(re, a);
      _mm512_store_ps(im, b);
      store_pairs(work, slot, g, p, a, b);
    }
  }
}

// Turns the query back by a page of 64 tokens and packs it. Only outliers read the angles.
template <bool outliers>
void step_query(const kvq_rope &rope, workspace &work, uint32_t pairs, uint32_t padded, uint32_t slot) {
  for (uint32_t p = 0; p < padded; p += 16) {
    const __mmask16 used = p + 16 <= pairs ? __mmask16(0xffff) : static_cast<__mmask16>((1u << (pairs - p)) - 1);
    const __m512 c = _mm512_maskz_loadu_ps(used, rope.page_cos + p), s = _mm512_maskz_loadu_ps(used, rope.page_sin + p);
    if constexpr (outliers) {
      const __m512 cosine = _mm512_load_ps(work.cosine + p), sine = _mm512_load_ps(work.sine + p);
      _mm512_store_ps(work.cosine + p, _mm512_fmadd_ps(sine, s, _mm512_mul_ps(cosine, c)));
      _mm512_store_ps(work.sine + p, _mm512_fmsub_ps(sine, c, _mm512_mul_ps(cosine, s)));
    }
    for (uint32_t g = 0; g < work.group; g++) {
      float *re = work.re + g * padded + p, *im = work.im + g * padded + p;
      const __m512 a = _mm512_load_ps(re), b = _mm512_load_ps(im);
      const __m512 x = _mm512_fmadd_ps(b, s, _mm512_mul_ps(a, c)), y = _mm512_fmsub_ps(b, c, _mm512_mul_ps(a, s));
      _mm512_store_ps(re, x);
      _mm512_store_ps(im, y);
      store_pairs(work, slot, g, p, x, y);
    }
  }
  work.start += KVQ_PAGE_TOKENS;
  work.steps++;
}

// The query of the page at `start` into a slot: a step from the page before it, or exactly.
inline void seek_query(const kvq_attention_tables *tables, workspace &work, uint64_t start, uint32_t slot) {
  const kvq::key_tables &key = tables->key;
  if (start == work.start + KVQ_PAGE_TOKENS && work.steps < tables->kernels->resync) {
    if (key.layout.outliers) step_query<true>(*tables->rope, work, key.pairs, key.padded_pairs, slot);
    else step_query<false>(*tables->rope, work, key.pairs, key.padded_pairs, slot);
    return;
  }
  kvq::turn_query(tables, work, start);
  pack_query(work, work.factor, key.padded_pairs, slot);
}

}  // namespace
