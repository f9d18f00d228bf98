// kvq_stage_page for the ISA of the including file: a page decoded to fp32 tiles, keys rotated to their positions, values in the plain frame.
// Values are computed in the order of the reference decoder (no fused multiply-add), so that prefill sees the numbers that decoding a block gives.
#pragma once

#include "ops/attend-pages/exact.simd.h"
#include "ops/attend-pages/transform-row.simd.h"

namespace {

#if defined(__AVX512F__)
inline floats permute(floats x, whole index) { return _mm512_permutexvar_ps(index, x); }
inline whole load_index(const int32_t *p) { return _mm512_loadu_si512(p); }
#else
inline floats permute(floats x, whole index) { return _mm256_permutevar8x32_ps(x, index); }
inline whole load_index(const int32_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }
#endif

// Lane order of the first 32 tokens is reversed.
inline void store_reversed(float *tokens, uint32_t lane, floats x) {
  int32_t index[lanes];
  for (int i = 0; i < lanes; i++) index[i] = lanes - 1 - i;
  store(tokens + 32 - lanes - lane, permute(x, load_index(index)));
}

inline uint32_t first_row(const kvq_rope &rope, uint32_t pair) { return pair < rope.rotary_dim / 2 ? pair : 2 * pair; }
inline uint32_t second_row(const kvq_rope &rope, uint32_t pair) { return pair < rope.rotary_dim / 2 ? pair + rope.rotary_dim / 2 : 2 * pair + 1; }

template <int bits>
void stage_key_codes(const kvq_rope &rope, const uint8_t *codes, const float *table, uint32_t pairs, const float *cosine, const float *sine, float *keys) {
  constexpr uint32_t entries = bits == 5 ? 32 : 16;
  for (uint32_t first = 0; first < pairs; first += 8) {
    const uint8_t *group = codes + first * (16 * bits);
#pragma GCC unroll 8
    for (uint32_t p = 0; p < 8; p++) {
      const uint32_t pair = first + p;
      const lookup<bits> a_table(table + 2 * pair * entries), b_table(table + (2 * pair + 1) * entries);
      const floats page_c = broadcast(cosine[pair]), page_s = broadcast(sine[pair]);
      float *x_row = keys + first_row(rope, pair) * size_t(64), *y_row = keys + second_row(rope, pair) * size_t(64);
      for (uint32_t lane = 0; lane < 32; lane += lanes) {
        const floats offset_c = load(rope.offset_cos + pair * 32 + lane), offset_s = load(rope.offset_sin + pair * 32 + lane);
        const floats cc = multiply(page_c, offset_c), ss = multiply(page_s, offset_s), sc = multiply(page_s, offset_c), cs = multiply(page_c, offset_s);
        const auto rotate = [&](uint32_t at, floats c, floats s, floats &x, floats &y) {
          const floats a = a_table(key_index<bits>(group, 2 * p, at)), b = b_table(key_index<bits>(group, 2 * p + 1, at));
          x = subtract(multiply(a, c), multiply(b, s));
          y = multiply_add(a, s, multiply(b, c));
        };
        floats x, y;
        rotate(lane, add(cc, ss), subtract(sc, cs), x, y);
        store_reversed(x_row, lane, x);
        store_reversed(y_row, lane, y);
        rotate(lane + 32, subtract(cc, ss), add(sc, cs), x, y);
        store(x_row + 32 + lane, x);
        store(y_row + 32 + lane, y);
      }
    }
  }
}

inline void stage_keys(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, kvq::workspace &work) {
  const kvq::key_tables &key = tables->key;
  const kvq_rope &rope = *tables->rope;
  const uint8_t *codes = page.key + kvq_head_offset(&key.layout, head);
  const float *table = page_table(key, head, codes + key.layout.codes_bytes, work.table);
  kvq_rope_at(&rope, static_cast<double>(page.start) + 31.5, work.cosine, work.sine);
  switch (key.bits) {
    case 2: stage_key_codes<2>(rope, codes, table, key.pairs, work.cosine, work.sine, keys); break;
    case 3: stage_key_codes<3>(rope, codes, table, key.pairs, work.cosine, work.sine, keys); break;
    case 4: stage_key_codes<4>(rope, codes, table, key.pairs, work.cosine, work.sine, keys); break;
    default: stage_key_codes<5>(rope, codes, table, key.pairs, work.cosine, work.sine, keys);
  }
  if (key.layout.outliers) {
    each_outlier(page.key + page.key_outliers[head], page.tokens, [&](uint32_t token, uint32_t code, float delta) {
      const uint32_t pair = code / 2, lane = lane_of_token(token) % 32;
      const float c = rope.offset_cos[pair * 32 + lane], s = token < 32 ? -rope.offset_sin[pair * 32 + lane] : rope.offset_sin[pair * 32 + lane];
      const float cosine = work.cosine[pair] * c - work.sine[pair] * s, sine = work.sine[pair] * c + work.cosine[pair] * s;
      keys[first_row(rope, pair) * size_t(64) + token] += code % 2 == 0 ? delta * cosine : -delta * sine;
      keys[second_row(rope, pair) * size_t(64) + token] += code % 2 == 0 ? delta * sine : delta * cosine;
    });
  }
  if (page.tokens < KVQ_PAGE_TOKENS) for (uint32_t c = 0; c < key.head_dim; c++) for (uint32_t t = page.tokens; t < KVQ_PAGE_TOKENS; t++) keys[c * size_t(64) + t] = 0;
}

template <int bits>
void stage_value_codes(const kvq::value_tables &value, uint32_t head, const uint8_t *codes, const uint16_t *numbers, uint32_t tokens, uint8_t *staged, float *values) {
  unpack_page<bits>(codes, value.head_dim, staged);
  const lookup<bits> level(value.levels);
  const uint32_t head_dim = value.head_dim;
  for (uint32_t t = 0; t < tokens; t++) {
    const floats scale = broadcast(float_of_half(numbers[t])), zero_point = broadcast(value.rotated ? 0 : float_of_half(numbers[KVQ_PAGE_TOKENS + t]));
    const uint8_t *from = staged + t / 4 * 4 * head_dim;
    float *row = values + static_cast<size_t>(t) * head_dim;
    for (uint32_t c = 0; c < head_dim; c += lanes) {
      const floats x = multiply(level(down(load_dwords(from + c * 4), static_cast<int>(8 * (t % 4)))), scale);
      const size_t at = static_cast<size_t>(head) * head_dim + c;
      store(row + c, value.rotated ? add(multiply(x, load(value.deviation + at)), load(value.mean + at)) : add(x, zero_point));
    }
    if (value.rotated) transform_row(row, head_dim, value.hadamard_block);
  }
}

inline void stage_values(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *values, kvq::workspace &work) {
  const kvq::value_tables &value = tables->value;
  const uint8_t *codes = page.value + kvq_head_offset(&value.layout, head);
  const uint16_t *numbers = reinterpret_cast<const uint16_t *>(page.value + kvq_token_data_offset(&value.layout));
  switch (value.bits) {
    case 2: stage_value_codes<2>(value, head, codes, numbers, page.tokens, work.staged, values); break;
    case 3: stage_value_codes<3>(value, head, codes, numbers, page.tokens, work.staged, values); break;
    case 4: stage_value_codes<4>(value, head, codes, numbers, page.tokens, work.staged, values); break;
    default: stage_value_codes<5>(value, head, codes, numbers, page.tokens, work.staged, values);
  }
  for (size_t i = size_t(page.tokens) * value.head_dim; i < size_t(64) * value.head_dim; i += lanes) store(values + i, zero());
  if (!value.layout.outliers) return;
  each_outlier(page.value + page.value_outliers[head], page.tokens, [&](uint32_t token, uint32_t channel, float delta) { values[static_cast<size_t>(token) * value.head_dim + channel] += delta; });
}

inline void stage_page(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, float *values, void *scratch) {
  kvq::workspace work = kvq::carve_workspace(scratch, tables->key.head_dim, 1, nullptr);
  stage_keys(tables, head, page, keys, work);
  stage_values(tables, head, page, values, work);
}

}  // namespace
