// Outliers of pages (docs/format.md section 1.3) for the fast kernels: 16 entries at a time are widened, and for keys turned to the angle between query and token; then each entry adds its part to up to
// 8 queries with one or two 8-lane multiply-adds. Entries are token-major, so the only serial work is one load and one store of sums an entry.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/outliers.avx512.h"

namespace {

constexpr uint32_t most_entries = KVQ_PAGE_TOKENS * KVQ_OUTLIER_SLOTS;

// Token of every entry, one byte each, and entries up to the end of each token; returns the number of entries. Writes up to 16 bytes beyond.
uint32_t expand_tokens(const uint8_t *counts, uint8_t *tokens, uint16_t *ends) {
  alignas(64) uint8_t each[64];
  const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(counts)), nibble = _mm256_set1_epi8(15);
  const __m256i even = _mm256_and_si256(packed, nibble), odd = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
  const __m256i low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
  _mm256_store_si256(reinterpret_cast<__m256i *>(each), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_store_si256(reinterpret_cast<__m256i *>(each + 32), _mm256_permute2x128_si256(low, high, 0x31));
  uint32_t total = 0;
#pragma GCC unroll 8
  for (int t = 0; t < 64; t++) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(tokens + total), _mm_set1_epi8(static_cast<char>(t)));
    total += each[t];
    ends[t] = static_cast<uint16_t>(total);
  }
  return total;
}

// 8 x 8 floats; rows of `from` become columns of `to`.
inline void transpose(const float *from, size_t from_stride, float *to, size_t to_stride) {
  __m256 r[8], u[8], v[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + static_cast<size_t>(i) * from_stride);
  for (int i = 0; i < 4; i++) {
    u[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    u[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    v[4 * i] = _mm256_shuffle_ps(u[4 * i], u[4 * i + 2], 0x44);
    v[4 * i + 1] = _mm256_shuffle_ps(u[4 * i], u[4 * i + 2], 0xEE);
    v[4 * i + 2] = _mm256_shuffle_ps(u[4 * i + 1], u[4 * i + 3], 0x44);
    v[4 * i + 3] = _mm256_shuffle_ps(u[4 * i + 1], u[4 * i + 3], 0xEE);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to + static_cast<size_t>(i) * to_stride, _mm256_permute2f128_ps(v[i], v[4 + i], 0x20));
    _mm256_storeu_ps(to + static_cast<size_t>(4 + i) * to_stride, _mm256_permute2f128_ps(v[i], v[4 + i], 0x31));
  }
}

// The wanted numbers of a table of up to 128 floats (padded to 16).
inline __m512 look_up(const float *table, uint32_t size, __m512i index) {
  __m512 found = _mm512_permutex2var_ps(_mm512_load_ps(table), index, _mm512_load_ps(size > 16 ? table + 16 : table));
  for (uint32_t first = 32; first < size; first += 32) {
    const __m512 part = _mm512_permutex2var_ps(_mm512_load_ps(table + first), index, _mm512_load_ps(size > first + 16 ? table + first + 16 : table));
    found = _mm512_mask_mov_ps(found, _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(static_cast<int>(first))), part);
  }
  return found;
}

// Fixed point angles (cos at 0, sin at 32 numbers on) of 16 entries.
inline __m512 gather_angle(const int16_t *angles, __m512i at) {
  const __m512i both = _mm512_i32gather_epi32(at, angles, 2);
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(both, 16), 16));
}

struct key_entries {
  alignas(64) float first[most_entries + 16], second[most_entries + 16];
  alignas(64) uint8_t tokens[most_entries + 64];
  uint16_t ends[64];
};

// Weights of a query's unturned pair (a, b) in each entry's part of the score.
uint32_t turn_entries(const kvq_attention_tables *tables, const kvq::workspace &work, const uint8_t *section, key_entries &entries) {
  const uint32_t total = expand_tokens(section, entries.tokens, entries.ends), padded = tables->key.padded_pairs;
  const uint8_t *deltas = section + 32, *codes = deltas + 2 * static_cast<size_t>(total);
  const int16_t *angles = tables->rope->offset_fixed;
  const __m512i thirty_one = _mm512_set1_epi32(31);
  for (uint32_t i = 0; i < total; i += 16) {
    const __mmask16 used = total - i >= 16 ? __mmask16(0xffff) : static_cast<__mmask16>((1u << (total - i)) - 1);
    const __m512i code = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(used, codes + i)), token = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(used, entries.tokens + i));
    const __m512 delta = _mm512_mul_ps(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(used, deltas + 2 * i)), _mm512_set1_ps(1 / 32767.0f));
    const __m512i pair = _mm512_srli_epi32(code, 1);
    const __mmask16 early = _mm512_cmple_epi32_mask(token, thirty_one), second_half = _mm512_test_epi32_mask(code, _mm512_set1_epi32(1));
    const __m512i lane = _mm512_mask_sub_epi32(_mm512_sub_epi32(token, _mm512_set1_epi32(32)), early, thirty_one, token);
    const __m512i at = _mm512_add_epi32(_mm512_slli_epi32(pair, 6), lane);
    const __m512 c = _mm512_mul_ps(delta, gather_angle(angles, at)), plain = _mm512_mul_ps(delta, gather_angle(angles + 32, at)), s = _mm512_mask_sub_ps(plain, early, _mm512_setzero_ps(), plain);
    const __m512 page_c = look_up(work.cosine, padded, pair), page_s = look_up(work.sine, padded, pair);
    const __m512 u = _mm512_fmadd_ps(page_s, s, _mm512_mul_ps(page_c, c)), w = _mm512_fmsub_ps(page_c, s, _mm512_mul_ps(page_s, c));
    _mm512_store_ps(entries.first + i, _mm512_mask_sub_ps(u, second_half, _mm512_setzero_ps(), w));
    _mm512_store_ps(entries.second + i, _mm512_mask_mov_ps(w, second_half, u));
  }
  return total;
}

}  // namespace

void kvq::avx512::lay_out_queries(const kvq_attention_tables *tables, workspace &work) {
  const uint32_t pairs = tables->key.pairs, padded = tables->key.padded_pairs;
  for (uint32_t g = 0; g < work.group; g++) {
    float *to = work.outlier_queries + g / 8 * size_t(padded) * 16 + g % 8;
    for (uint32_t p = 0; p < pairs; p++) {
      to[p * 16] = work.base_re[g * padded + p];
      to[p * 16 + 8] = work.base_im[g * padded + p];
    }
  }
}

void kvq::avx512::score_outliers(const kvq_attention_tables *tables, uint32_t head, workspace &work, const kvq_page_view &page) {
  const uint32_t padded = tables->key.padded_pairs;
  const uint8_t *section = page.key + page.key_outliers[head];
  key_entries entries;
  const uint32_t total = turn_entries(tables, work, section, entries);
  const uint8_t *codes = section + 32 + 2 * static_cast<size_t>(total);
  for (uint32_t first = 0; first < work.group; first += 8) {
    const float *queries = work.outlier_queries + first * size_t(padded) * 2;
    // Running sums over all entries; a token's part is the difference between its last entry and the one before its first. No sum is read back within a chain of entries.
    alignas(64) float running[(most_entries + 1) * 8], sums[64 * 8];
    __m256 sum = _mm256_setzero_ps();
    _mm256_store_ps(running, sum);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < total; i++) {
      const float *pair = queries + (codes[i] >> 1) * 16;
      sum = _mm256_add_ps(sum, _mm256_fmadd_ps(_mm256_set1_ps(entries.second[i]), _mm256_load_ps(pair + 8), _mm256_mul_ps(_mm256_set1_ps(entries.first[i]), _mm256_load_ps(pair))));
      _mm256_store_ps(running + (i + 1) * 8, sum);
    }
    __m256 before = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (uint32_t t = 0; t < 64; t++) {
      const __m256 after = _mm256_load_ps(running + entries.ends[t] * 8);
      _mm256_store_ps(sums + t * 8, _mm256_sub_ps(after, before));
      before = after;
    }
    if (work.group == 1) {
      for (int t = 0; t < 64; t++) work.added[t] = sums[t * 8];
    } else {
      for (size_t t = 0; t < 64; t += 8) transpose(sums + t * 8, 8, work.added + first * 64 + t, 64);
    }
  }
}

// Parts of the values' outliers, by channel and query, of up to 8 queries: sums [head_dim][8].
void kvq::avx512::add_value_outliers(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run) {
  const uint32_t head_dim = tables->value.head_dim;
  alignas(64) float sums[largest_head_dim * 8], weights[64 * 8], deltas[most_entries + 16];
  alignas(64) uint8_t tokens[most_entries + 64];
  uint16_t ends[64];
  for (uint32_t first = 0; first < work.group; first += 8) {
    const uint32_t queries = work.group - first < 8 ? work.group - first : 8;
    for (uint32_t i = 0; i < head_dim * 8; i += 16) _mm512_store_ps(sums + i, _mm512_setzero_ps());
    for (size_t i = 0; i < run.count; i++) {
      const uint8_t *section = run.pages[i].value + run.pages[i].value_outliers[head];
      const float *page_weights = work.scores + first * chunk_tokens + i * KVQ_PAGE_TOKENS;
      if (i + 1 < run.count + run.following) {
        const uint8_t *ahead = run.pages[i + 1].value + run.pages[i + 1].value_outliers[head];
        for (uint32_t b = 0; b < 32 + 2 * head_dim; b += 64) _mm_prefetch(reinterpret_cast<const char *>(ahead + b), _MM_HINT_T0);
      }
      const uint32_t total = expand_tokens(section, tokens, ends);
      const uint8_t *halves = section + 32, *channels = halves + 2 * static_cast<size_t>(total);
      for (uint32_t e = 0; e < total; e += 16) {
        const __mmask16 used = total - e >= 16 ? __mmask16(0xffff) : static_cast<__mmask16>((1u << (total - e)) - 1);
        _mm512_store_ps(deltas + e, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(used, halves + 2 * e)));
      }
      if (queries == 1) {
#pragma GCC unroll 4
        for (uint32_t e = 0; e < total; e++) sums[channels[e] * 8] += page_weights[tokens[e]] * deltas[e];
        continue;
      }
      for (size_t t = 0; t < 64; t += 8) {
        alignas(32) float rows[8][8] = {};
        for (uint32_t g = 0; g < queries; g++) _mm256_store_ps(rows[g], _mm256_load_ps(page_weights + g * chunk_tokens + t));
        transpose(rows[0], 8, weights + t * 8, 8);
      }
#pragma GCC unroll 4
      for (uint32_t e = 0; e < total; e++) {
        float *sum = sums + channels[e] * 8;
        _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_set1_ps(deltas[e]), _mm256_load_ps(weights + tokens[e] * 8), _mm256_load_ps(sum)));
      }
    }
    for (uint32_t c = 0; c < head_dim; c += 8) {
      alignas(32) float columns[8][8];
      transpose(sums + c * 8, 8, columns[0], 8);
      for (uint32_t g = 0; g < queries; g++) {
        float *sum = work.sum + (first + g) * size_t(head_dim) + c;
        _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), _mm256_load_ps(columns[g])));
      }
    }
  }
}
#endif
