// Weighted values in fixed point (AVX-512 VNNI): sum over tokens of weight * token scale * level.
//
// Levels are k / 127: int8, exact. Weights times token scales become 16-bit numbers relative to their largest in the chunk, split in two bytes, so that vpdpbusd adds 4 tokens x 16 channels at once;
// 512 tokens * 255 * 127 fits in int32.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/keys-fixed.avx512.h"
#include "ops/attend-pages/outliers.avx512.h"
#include "ops/attend-pages/sub-groups.h"
#include "ops/attend-pages/value-codes.avx512.h"
#include "ops/attend-pages/values-fixed.h"

namespace {

using kvq::chunk_tokens;
using kvq::page_run;
using kvq::value_tables;
using kvq::workspace;

void load_token_numbers(const value_tables &value, const workspace &work, page_run run) {
  const size_t offset = kvq_token_data_offset(&value.layout);
  for (size_t i = 0; i < run.count; i++) {
    const uint8_t *numbers = run.pages[i].value + offset;
    for (size_t t = 0; t < KVQ_PAGE_TOKENS; t += 16) {
      const auto half = [numbers, t](size_t array) { return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i *>(numbers + (array * KVQ_PAGE_TOKENS + t) * 2))); };
      _mm512_store_ps(work.token_scale + i * KVQ_PAGE_TOKENS + t, half(0));
      if (!value.rotated) _mm512_store_ps(work.token_zero + i * KVQ_PAGE_TOKENS + t, half(1));
    }
  }
}

// Weights times token scales as two bytes each; returns the value of one unit.
float quantize_weights(const float *weights, const float *scale, uint32_t tokens, uint8_t *high, uint8_t *low) {
  __m512 most = _mm512_setzero_ps();
  for (uint32_t t = 0; t < tokens; t += 16) most = _mm512_max_ps(most, _mm512_mul_ps(_mm512_load_ps(weights + t), _mm512_load_ps(scale + t)));
  const float largest = _mm512_reduce_max_ps(most), unit = largest < 1e-35f ? 1e-35f : largest;
  const __m512 factor = _mm512_set1_ps(65535.0f / unit);
  // 32 tokens: their low bytes, then their high ones.
  alignas(64) static constexpr auto order = [] {
    struct { uint8_t at[64]; } bytes{};
    for (int i = 0; i < 64; i++) bytes.at[i] = static_cast<uint8_t>(4 * (i % 32) + i / 32);
    return bytes;
  }();
  const __m512i split = _mm512_load_si512(order.at);
  const auto whole = [&](uint32_t t) { return _mm512_cvtps_epu32(_mm512_mul_ps(_mm512_mul_ps(_mm512_load_ps(weights + t), _mm512_load_ps(scale + t)), factor)); };
  for (uint32_t t = 0; t < tokens; t += 32) {
    const __m512i both = _mm512_permutex2var_epi8(whole(t), split, whole(t + 16));
    _mm256_store_si256(reinterpret_cast<__m256i *>(low + t), _mm512_castsi512_si256(both));
    _mm256_store_si256(reinterpret_cast<__m256i *>(high + t), _mm512_extracti64x4_epi64(both, 1));
  }
  return unit / 65535.0f;
}

template <int bits>
void look_up(const value_tables &value, const uint8_t *codes, uint8_t *staged) {
  const __m512i levels = _mm512_load_si512(value.fixed_levels);
  unpack_vectors<bits>(codes, value.head_dim, staged, [levels](__m512i code) __attribute__((always_inline)) { return _mm512_permutexvar_epi8(code, levels); });
}

void look_up_page(const value_tables &value, const uint8_t *codes, uint8_t *staged) {
  switch (value.bits) {
    case 2: return look_up<2>(value, codes, staged);
    case 3: return look_up<3>(value, codes, staged);
    case 4: return look_up<4>(value, codes, staged);
    default: return look_up<5>(value, codes, staged);
  }
}

inline __m512i four_weights(const uint8_t *bytes) {
  int32_t four;
  __builtin_memcpy(&four, bytes, 4);
  return _mm512_set1_epi32(four);
}

// Adds a staged page: sums [head_dim / 16][group][2][16], bytes [queries][2][chunk_tokens] from the page's first token.
template <int queries, int width>
void add_groups(const uint8_t *staged, uint32_t groups, const uint8_t *bytes, int32_t *sums, size_t sum_stride) {
  __m512i sum[width][queries][2];
  for (int c = 0; c < width; c++)
    for (int g = 0; g < queries; g++)
      for (int k = 0; k < 2; k++) sum[c][g][k] = _mm512_load_si512(sums + static_cast<size_t>(c) * sum_stride + (g * 2 + k) * 16);
#pragma GCC unroll 2
  for (uint32_t quad = 0; quad < 16; quad++) {
    __m512i levels[width];
    for (int c = 0; c < width; c++) levels[c] = _mm512_load_si512(staged + (quad * groups + static_cast<uint32_t>(c)) * 64);
    for (int g = 0; g < queries; g++) {
      const __m512i high = four_weights(bytes + g * 2 * chunk_tokens + 4 * quad), low = four_weights(bytes + (g * 2 + 1) * chunk_tokens + 4 * quad);
      for (int c = 0; c < width; c++) {
        sum[c][g][0] = _mm512_dpbusd_epi32(sum[c][g][0], high, levels[c]);
        sum[c][g][1] = _mm512_dpbusd_epi32(sum[c][g][1], low, levels[c]);
      }
    }
  }
  for (int c = 0; c < width; c++)
    for (int g = 0; g < queries; g++)
      for (int k = 0; k < 2; k++) _mm512_store_si512(sums + static_cast<size_t>(c) * sum_stride + (g * 2 + k) * 16, sum[c][g][k]);
}

template <int queries>
void add_page(const uint8_t *staged, uint32_t groups, const uint8_t *bytes, int32_t *sums, size_t sum_stride) {
  constexpr int width = queries == 1 ? 4 : 2;
  uint32_t c = 0;
  for (; c + width <= groups; c += width) add_groups<queries, width>(staged + c * 64, groups, bytes, sums + c * sum_stride, sum_stride);
  for (; c < groups; c++) add_groups<queries, 1>(staged + c * 64, groups, bytes, sums + c * sum_stride, sum_stride);
}

void add_page_of(uint32_t queries, const uint8_t *staged, uint32_t groups, const uint8_t *bytes, int32_t *sums, size_t sum_stride) {
  switch (queries) {
    case 1: return add_page<1>(staged, groups, bytes, sums, sum_stride);
    case 2: return add_page<2>(staged, groups, bytes, sums, sum_stride);
    case 3: return add_page<3>(staged, groups, bytes, sums, sum_stride);
    case 4: return add_page<4>(staged, groups, bytes, sums, sum_stride);
    case 5: return add_page<5>(staged, groups, bytes, sums, sum_stride);
    default: return add_page<6>(staged, groups, bytes, sums, sum_stride);
  }
}

// Head dims whose groups fill no whole packing units (80; 96 but for 4 bits): each page is looked up into L1 first.
void add_staged(const value_tables &value, const workspace &work, page_run run, size_t head_offset, size_t sum_stride) {
  const uint32_t groups = value.head_dim / 16;
  for (size_t i = 0; i < run.count; i++) {
    const size_t left = run.count - i - 1 + run.following;
    const uint8_t *ahead = run.pages[i + (left < kvq::value_pages_ahead ? left : kvq::value_pages_ahead)].value + head_offset;
    for (uint32_t b = 0; b < value.layout.codes_bytes; b += 64) _mm_prefetch(reinterpret_cast<const char *>(ahead + b), _MM_HINT_T0);
    look_up_page(value, run.pages[i].value + head_offset, work.staged);
    for (uint32_t first = 0, part; first < work.group; first += part) {
      part = next_part(work.group - first, kvq::avx512::most_value_queries);
      add_page_of(part, work.staged, groups, work.bytes + first * size_t(2 * chunk_tokens) + i * KVQ_PAGE_TOKENS, work.whole + first * 32, sum_stride);
    }
  }
}

void add_in_registers(const value_tables &value, const workspace &work, page_run run, size_t head_offset, size_t sum_stride) {
  kvq::avx512::fixed_value_pages pages{};
  pages.groups = value.head_dim / 16;
  pages.levels = value.fixed_levels;
  pages.sum_stride = sum_stride;
  for (size_t i = 0; i < run.count; i += kvq::avx512::value_pass_pages) {
    const size_t last = run.count - 1;
    pages.count = 0;
    for (size_t j = i; j < run.count && j < i + kvq::avx512::value_pass_pages; j++) {
      const size_t ahead = j + kvq::value_pages_ahead;
      pages.codes[pages.count] = run.pages[j].value + head_offset;
      pages.ahead[pages.count++] = run.pages[ahead < last ? ahead : last].value + head_offset;
    }
    for (uint32_t first = 0, part; first < work.group; first += part) {
      part = next_part(work.group - first, kvq::avx512::most_value_queries);
      pages.bytes = work.bytes + first * size_t(2 * chunk_tokens) + i * KVQ_PAGE_TOKENS;
      pages.sums = work.whole + first * size_t(32);
      kvq::avx512::fixed_value_kernel_of(value.bits, pages.groups, part)(pages);
    }
  }
}

}  // namespace

void kvq::avx512::fixed_values(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run) {
  const value_tables &value = tables->value;
  const uint32_t head_dim = value.head_dim, groups = head_dim / 16, tokens = static_cast<uint32_t>(run.count) * KVQ_PAGE_TOKENS;
  const size_t head_offset = kvq_head_offset(&value.layout, head), sum_stride = work.group * size_t(32);
  load_token_numbers(value, work, run);
  for (uint32_t g = 0; g < work.group; g++) {
    const float *weights = work.scores + g * chunk_tokens;
    uint8_t *high = work.bytes + g * size_t(2 * chunk_tokens);
    const float one = quantize_weights(weights, work.token_scale, tokens, high, high + chunk_tokens);
    work.unit[g] = one;
    if (!value.rotated) {
      __m512 sum = _mm512_setzero_ps();
      for (uint32_t t = 0; t < tokens; t += 16) sum = _mm512_fmadd_ps(_mm512_load_ps(weights + t), _mm512_load_ps(work.token_zero + t), sum);
      work.zero_sum[g] += _mm512_reduce_add_ps(sum);
    }
  }
  for (size_t i = 0; i < groups * sum_stride; i += 16) _mm512_store_si512(work.whole + i, _mm512_setzero_si512());
  if (fixed_value_kernel_of(value.bits, groups, 1) != nullptr) add_in_registers(value, work, run, head_offset, sum_stride);
  else add_staged(value, work, run, head_offset, sum_stride);
  if (value.layout.outliers) add_value_outliers(tables, head, work, run);
  for (uint32_t g = 0; g < work.group; g++) {
    const float level = work.unit[g] / 127.0f;
    const __m512 high = _mm512_set1_ps(level * 256), low = _mm512_set1_ps(level);
    for (uint32_t c = 0; c < groups; c++) {
      const int32_t *whole = work.whole + c * sum_stride + g * 32;
      float *sum = work.sum + static_cast<size_t>(g) * head_dim + c * 16;
      const __m512 fine = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(whole + 16)), low, _mm512_loadu_ps(sum));
      _mm512_storeu_ps(sum, _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(whole)), high, fine));
    }
  }
}
#endif
