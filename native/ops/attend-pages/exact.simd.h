// Scores and values of compressed pages in fp32 for the ISA of the including file (AVX2 or AVX-512), from the same bytes as the fixed point kernels.
//
// Keys: 2 vectors of tokens at a time stay in registers over all pairs; codes are widened to 32 bits, looked up in the channel's table, rotated by the angle around the page's middle and multiplied into
// up to 4 queries. Values: codes of a page are unpacked to bytes in L1, then 16 channels at a time are looked up and added for up to 4 queries.
#pragma once

#include "ops/attend-pages/page-codes.h"
#include "ops/attend-pages/repeat.h"
#include "ops/attend-pages/weigh.simd.h"

namespace {

constexpr uint32_t exact_part = 4;

#if defined(__AVX512F__)
using whole = __m512i;
using wide = __m512i;
inline whole load_words(const uint8_t *p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p))); }
inline whole load_dwords(const uint8_t *p) { return _mm512_loadu_si512(p); }
inline __attribute__((always_inline)) whole down(whole x, int n) { return _mm512_srli_epi32(x, static_cast<unsigned>(n)); }
inline __attribute__((always_inline)) whole high_bit(whole x) { return _mm512_srli_epi32(x, 15); }
inline whole either(whole a, whole b) { return _mm512_or_si512(a, b); }
inline __attribute__((always_inline)) whole up(whole x, int n) { return _mm512_slli_epi32(x, static_cast<unsigned>(n)); }
inline wide load_wide(const uint8_t *p) { return _mm512_loadu_si512(p); }
inline void store_wide(uint8_t *p, wide x) { _mm512_store_si512(p, x); }
inline __attribute__((always_inline)) wide wide_down(wide x, int n) { return _mm512_srli_epi16(x, static_cast<unsigned>(n)); }
inline wide keep(wide x, int mask) { return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(mask))); }

template <int bits>
struct lookup {
  floats low, high;
  explicit lookup(const float *table) : low(load(table)), high(bits == 5 ? load(table + 16) : low) {}
  floats operator()(whole index) const {
    if constexpr (bits == 5) return _mm512_permutex2var_ps(low, index, high);
    else return _mm512_permutexvar_ps(index, low);
  }
};
#else
using whole = __m256i;
using wide = __m256i;
inline whole load_words(const uint8_t *p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p))); }
inline whole load_dwords(const uint8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline __attribute__((always_inline)) whole down(whole x, int n) { return _mm256_srli_epi32(x, n); }
inline __attribute__((always_inline)) whole high_bit(whole x) { return _mm256_srli_epi32(x, 15); }
inline whole either(whole a, whole b) { return _mm256_or_si256(a, b); }
inline __attribute__((always_inline)) whole up(whole x, int n) { return _mm256_slli_epi32(x, n); }
inline wide load_wide(const uint8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
inline void store_wide(uint8_t *p, wide x) { _mm256_store_si256(reinterpret_cast<__m256i *>(p), x); }
inline __attribute__((always_inline)) wide wide_down(wide x, int n) { return _mm256_srli_epi16(x, n); }
inline wide keep(wide x, int mask) { return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(mask))); }

// 8 entries a permutation; the bits above choose between permutations by the sign that a shift makes of them.
template <int bits>
struct lookup {
  static constexpr int parts = bits <= 3 ? 1 : 1 << (bits - 3);
  floats part[parts];
  explicit lookup(const float *table) { for (int i = 0; i < parts; i++) part[i] = load(table + 8 * i); }
  floats operator()(whole index) const {
    floats found = _mm256_permutevar8x32_ps(part[0], index);
    if constexpr (parts >= 2) found = _mm256_blendv_ps(found, _mm256_permutevar8x32_ps(part[1], index), _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
    if constexpr (parts == 4) {
      const floats upper = _mm256_blendv_ps(_mm256_permutevar8x32_ps(part[2], index), _mm256_permutevar8x32_ps(part[3], index), _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
      found = _mm256_blendv_ps(found, upper, _mm256_castsi256_ps(_mm256_slli_epi32(index, 27)));
    }
    return found;
  }
};
#endif

// Indices of code `in_group` of a group for `lanes` tokens from lane `lane`.
template <int bits>
inline __attribute__((always_inline)) whole key_index(const uint8_t *group, uint32_t in_group, uint32_t lane) {
  constexpr uint32_t in_word = bits == 3 ? 5 : bits == 5 ? 3 : 16 / bits;
  const auto word = [group, lane](uint32_t w) { return load_words(group + (w * 64 + lane) * 2); };
  if (in_group < in_word * bits) return down(word(in_group / in_word), static_cast<int>(in_group % in_word * bits));
  whole index = high_bit(word(0));
  for (uint32_t w = 1; w < bits; w++) index = either(index, up(high_bit(word(w)), static_cast<int>(w)));
  return index;
}

// Tables of a page: [head_dim][entries].
inline const float *page_table(const kvq::key_tables &key, uint32_t head, const uint8_t *side, float *table) {
  if (!key.page_scales) return key.table + static_cast<size_t>(head) * key.head_dim * key.entries;
  for (uint32_t code = 0; code < key.head_dim; code++) {
    float scale, zero;
    key_scale(key, head, side, code, scale, zero);
    for (uint32_t i = 0; i < key.entries; i += lanes) store(table + code * key.entries + i, multiply_add(load(key.levels + i), broadcast(scale), broadcast(zero)));
  }
  return table;
}

template <int bits, int queries>
void score_exact(const kvq_rope &rope, const uint8_t *codes, const float *table, uint32_t pairs, const float *re, const float *im, size_t stride, float *lane_scores) {
  constexpr uint32_t entries = bits == 5 ? 32 : 16, block = 2 * lanes;
  for (uint32_t lane = 0; lane < 64; lane += block) {
    floats sum[queries][2];
    repeat<queries>([&](auto g) __attribute__((always_inline)) { sum[g][0] = sum[g][1] = zero(); });
    const floats turn = broadcast(lane < 32 ? -1.0f : 1.0f);
    for (uint32_t first = 0; first < pairs; first += 8) {
      const uint8_t *group = codes + first * (16 * bits);
#pragma GCC unroll 8
      for (uint32_t p = 0; p < 8; p++) {
        const uint32_t pair = first + p;
        const lookup<bits> a_table(table + 2 * pair * entries), b_table(table + (2 * pair + 1) * entries);
        repeat<2>([&](auto v) __attribute__((always_inline)) {
          const uint32_t at = lane + static_cast<uint32_t>(v) * lanes;
          const floats c = load(rope.offset_cos + pair * 32 + at % 32), s = multiply(turn, load(rope.offset_sin + pair * 32 + at % 32));
          const floats a = a_table(key_index<bits>(group, 2 * p, at)), b = b_table(key_index<bits>(group, 2 * p + 1, at));
          const floats x = subtract(multiply(a, c), multiply(b, s)), y = multiply_add(a, s, multiply(b, c));
          repeat<queries>([&](auto g) __attribute__((always_inline)) {
            sum[g][v] = multiply_add(x, broadcast(re[g * stride + pair]), sum[g][v]);
            sum[g][v] = multiply_add(y, broadcast(im[g * stride + pair]), sum[g][v]);
          });
        });
      }
    }
    repeat<2 * queries>([&](auto i) __attribute__((always_inline)) { store(lane_scores + i / 2 * 64 + lane + i % 2 * lanes, sum[i / 2][i % 2]); });
  }
}

template <int bits>
void score_part(const kvq_rope &rope, uint32_t queries, const uint8_t *codes, const float *table, uint32_t pairs, const float *re, const float *im, size_t stride, float *lane_scores) {
  switch (queries) {
    case 1: return score_exact<bits, 1>(rope, codes, table, pairs, re, im, stride, lane_scores);
    case 2: return score_exact<bits, 2>(rope, codes, table, pairs, re, im, stride, lane_scores);
    case 3: return score_exact<bits, 3>(rope, codes, table, pairs, re, im, stride, lane_scores);
    default: return score_exact<bits, 4>(rope, codes, table, pairs, re, im, stride, lane_scores);
  }
}

inline void score_part_of(uint32_t bits, const kvq_rope &rope, uint32_t queries, const uint8_t *codes, const float *table, uint32_t pairs, const float *re, const float *im, size_t stride, float *lane_scores) {
  switch (bits) {
    case 2: return score_part<2>(rope, queries, codes, table, pairs, re, im, stride, lane_scores);
    case 3: return score_part<3>(rope, queries, codes, table, pairs, re, im, stride, lane_scores);
    case 4: return score_part<4>(rope, queries, codes, table, pairs, re, im, stride, lane_scores);
    default: return score_part<5>(rope, queries, codes, table, pairs, re, im, stride, lane_scores);
  }
}

inline void step_exact(const kvq_attention_tables *tables, kvq::workspace &work, uint64_t start) {
  if (start == work.start) return;
  if (start != work.start + KVQ_PAGE_TOKENS || work.steps >= tables->kernels->resync) return kvq::turn_query(tables, work, start);
  const kvq_rope &rope = *tables->rope;
  for (uint32_t g = 0; g < work.group; g++) {
    float *re = work.re + g * tables->key.padded_pairs, *im = work.im + g * tables->key.padded_pairs;
    for (uint32_t p = 0; p < tables->key.pairs; p++) {
      const float a = re[p], b = im[p];
      re[p] = a * rope.page_cos[p] + b * rope.page_sin[p];
      im[p] = b * rope.page_cos[p] - a * rope.page_sin[p];
    }
  }
  work.start = start;
  work.steps++;
}

// A key outlier turns with its token.
inline void score_exact_outliers(const kvq_attention_tables *tables, uint32_t head, const kvq::workspace &work, const kvq_page_view &page, float *scores) {
  const kvq_rope &rope = *tables->rope;
  const uint32_t padded = tables->key.padded_pairs;
  each_outlier(page.key + page.key_outliers[head], page.tokens, [&](uint32_t token, uint32_t code, float delta) {
    const uint32_t pair = code / 2, lane = lane_of_token(token) % 32;
    const float c = delta * rope.offset_cos[pair * 32 + lane], plain = delta * rope.offset_sin[pair * 32 + lane], s = token < 32 ? -plain : plain;
    for (uint32_t g = 0; g < work.group; g++) {
      const float re = work.re[g * padded + pair], im = work.im[g * padded + pair];
      scores[g * kvq::chunk_tokens + token] += code % 2 == 0 ? re * c + im * s : im * c - re * s;
    }
  });
}

inline void exact_scores(const kvq_attention_tables *tables, uint32_t head, kvq::workspace &work, kvq::page_run run) {
  const kvq::key_tables &key = tables->key;
  for (size_t i = 0; i < run.count; i++) {
    const kvq_page_view &page = run.pages[i];
    const uint8_t *codes = page.key + kvq_head_offset(&key.layout, head);
    step_exact(tables, work, page.start);
    if (i + 1 < run.count + run.following) for (uint32_t b = 0; b < key.layout.codes_bytes + key.layout.side_bytes; b += 64) _mm_prefetch(reinterpret_cast<const char *>(run.pages[i + 1].key + kvq_head_offset(&key.layout, head) + b), _MM_HINT_T0);
    const float *table = page_table(key, head, codes + key.layout.codes_bytes, work.table);
    for (uint32_t first = 0; first < work.group; first += exact_part) {
      const uint32_t part = work.group - first < exact_part ? work.group - first : exact_part;
      alignas(64) float lane_scores[exact_part * 64];
      score_part_of(key.bits, *tables->rope, part, codes, table, key.pairs, work.re + first * key.padded_pairs, work.im + first * key.padded_pairs, key.padded_pairs, lane_scores);
      for (uint32_t g = 0; g < part; g++) {
        float *to = work.scores + (first + g) * kvq::chunk_tokens + i * KVQ_PAGE_TOKENS;
        for (uint32_t t = 0; t < 32; t++) to[t] = lane_scores[g * 64 + 31 - t];
        for (uint32_t t = 32; t < 64; t++) to[t] = lane_scores[g * 64 + t];
      }
    }
    if (key.layout.outliers) score_exact_outliers(tables, head, work, page, work.scores + i * KVQ_PAGE_TOKENS);
  }
}

// Bytes of vector `n` of a unit, one code each, from byte `at` of its 64.
template <int bits>
inline wide unit_codes(const uint8_t *unit, int n, size_t at) {
  const auto word = [unit, at](int w) { return load_wide(unit + 64 * w + at); };
  constexpr int mask = (1 << bits) - 1;
  if constexpr (bits == 4 || bits == 2) return keep(wide_down(word(0), bits * n), mask);
  else if constexpr (bits == 3) {
    if (n < 6) return keep(wide_down(word(n / 2), 3 * (n & 1)), mask);
    return either(keep(wide_down(word(n - 6), 6), 3), keep(wide_down(word(2), n - 2), 4));
  } else {
    if (n < 5) return keep(word(n), mask);
    if (n < 7) return either(keep(wide_down(word(n - 5), 5), 7), keep(wide_down(word(n - 2), 2), 24));
    return either(keep(wide_down(word(2), 5), 7), either(keep(wide_down(word(3), 4), 8), keep(wide_down(word(4), 3), 16)));
  }
}

template <int bits>
void unpack_page(const uint8_t *codes, uint32_t vectors, uint8_t *staged) {
  constexpr int in_unit = bits == 4 ? 2 : bits == 2 ? 4 : 8, words = bits == 3 ? 3 : bits == 5 ? 5 : 1;
  for (uint32_t first = 0; first < vectors; first += in_unit, codes += 64 * words, staged += 64 * in_unit) {
#pragma GCC unroll 8
    for (int n = 0; n < in_unit; n++) for (size_t at = 0; at < 64; at += sizeof(wide)) store_wide(staged + 64 * n + at, unit_codes<bits>(codes, n, at));
  }
}

// weights [queries][chunk_tokens] times token scales; staged codes of a page; sums [queries][head_dim].
template <int bits, int queries>
void add_exact(const kvq::value_tables &value, const uint8_t *staged, const float *weights, float *sums) {
  const lookup<bits> level(value.levels);
  constexpr int vectors = 16 / lanes;
  for (uint32_t channel = 0; channel < value.head_dim; channel += 16) {
    floats sum[queries][vectors];
    for (int g = 0; g < queries; g++) for (int v = 0; v < vectors; v++) sum[g][v] = load(sums + g * value.head_dim + channel + static_cast<uint32_t>(v * lanes));
    for (uint32_t quad = 0; quad < 16; quad++) {
      const uint8_t *at = staged + quad * 4 * value.head_dim + channel * 4;
      whole codes[vectors];
      for (int v = 0; v < vectors; v++) codes[v] = load_dwords(at + v * lanes * 4);
#pragma GCC unroll 4
      for (int t = 0; t < 4; t++) {
        for (int v = 0; v < vectors; v++) {
          const floats x = level(down(codes[v], 8 * t));
          for (int g = 0; g < queries; g++) sum[g][v] = multiply_add(x, broadcast(weights[g * kvq::chunk_tokens + quad * 4 + static_cast<uint32_t>(t)]), sum[g][v]);
        }
      }
    }
    for (int g = 0; g < queries; g++) for (int v = 0; v < vectors; v++) store(sums + g * value.head_dim + channel + static_cast<uint32_t>(v * lanes), sum[g][v]);
  }
}

template <int bits>
void add_exact_page(const kvq::value_tables &value, const uint8_t *codes, const kvq::workspace &work, const float *weights) {
  unpack_page<bits>(codes, value.head_dim, work.staged);
  for (uint32_t first = 0; first < work.group; first += exact_part) {
    const float *part = weights + first * kvq::chunk_tokens;
    float *sums = work.sum + first * value.head_dim;
    switch (work.group - first) {
      case 1: add_exact<bits, 1>(value, work.staged, part, sums); break;
      case 2: add_exact<bits, 2>(value, work.staged, part, sums); break;
      case 3: add_exact<bits, 3>(value, work.staged, part, sums); break;
      default: add_exact<bits, 4>(value, work.staged, part, sums);
    }
  }
}

inline void exact_values(const kvq_attention_tables *tables, uint32_t head, kvq::workspace &work, kvq::page_run run) {
  const kvq::value_tables &value = tables->value;
  const size_t head_offset = kvq_head_offset(&value.layout, head), numbers = kvq_token_data_offset(&value.layout);
  for (size_t i = 0; i < run.count; i++) {
    const kvq_page_view &page = run.pages[i];
    float *weights = work.scores + i * KVQ_PAGE_TOKENS;
    if (i + 1 < run.count + run.following) for (uint32_t b = 0; b < value.layout.codes_bytes; b += 64) _mm_prefetch(reinterpret_cast<const char *>(run.pages[i + 1].value + head_offset + b), _MM_HINT_T0);
    if (value.layout.outliers) {
      each_outlier(page.value + page.value_outliers[head], page.tokens, [&](uint32_t token, uint32_t channel, float delta) {
        for (uint32_t g = 0; g < work.group; g++) work.sum[g * value.head_dim + channel] += weights[g * kvq::chunk_tokens + token] * delta;
      });
    }
    for (uint32_t g = 0; g < work.group; g++) {  // from here on the weights carry the token scales
      floats zeros = zero();
      for (uint32_t t = 0; t < KVQ_PAGE_TOKENS; t += lanes) {
        float *at = weights + g * kvq::chunk_tokens + t;
        const floats weight = load(at);
        if (!value.rotated) zeros = multiply_add(weight, load_half(reinterpret_cast<const uint16_t *>(page.value + numbers) + KVQ_PAGE_TOKENS + t), zeros);
        store(at, multiply(weight, load_half(reinterpret_cast<const uint16_t *>(page.value + numbers) + t)));
      }
      work.zero_sum[g] += sum_of(zeros);
    }
    switch (value.bits) {
      case 2: add_exact_page<2>(value, page.value + head_offset, work, weights); break;
      case 3: add_exact_page<3>(value, page.value + head_offset, work, weights); break;
      case 4: add_exact_page<4>(value, page.value + head_offset, work, weights); break;
      default: add_exact_page<5>(value, page.value + head_offset, work, weights);
    }
  }
}

}  // namespace
