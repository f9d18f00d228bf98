// Scores, softmax and values of compressed pages in plain C++ and fp32: the reference of the other ISAs, and the path of CPUs without them.
// A page is decoded channel by channel into rows of 64 lanes, so that the compiler may vectorise over tokens.
#include <cmath>

#include "ops/attend-pages/page-codes.h"

namespace {

// The levels of one code for 64 lanes.
void decode_key_row(const kvq::key_tables &key, uint32_t head, const uint8_t *codes, uint32_t code, float *row) {
  float scale, zero, entry[32];
  uint8_t lane_codes[64];
  key_scale(key, head, codes + key.layout.codes_bytes, code, scale, zero);
  for (uint32_t i = 0; i < 1u << key.bits; i++) entry[i] = key.levels[i] * scale + zero;
  read_key_codes(codes, key.bits, code, lane_codes);
  for (uint32_t lane = 0; lane < 64; lane++) row[lane] = entry[lane_codes[lane]];
}

// Rotates a pair's 64 lanes by the angles around the page's middle and adds its part of G scores.
void score_pair(const kvq_rope &rope, uint32_t pair, const float *first, const float *second, const float *re, const float *im, uint32_t stride, uint32_t group, float *lane_scores) {
  const float *cosine = rope.offset_cos + pair * 32, *sine = rope.offset_sin + pair * 32;
  float x[64], y[64];
  for (uint32_t lane = 0; lane < 32; lane++) {
    x[lane] = first[lane] * cosine[lane] + second[lane] * sine[lane];
    y[lane] = second[lane] * cosine[lane] - first[lane] * sine[lane];
    x[lane + 32] = first[lane + 32] * cosine[lane] - second[lane + 32] * sine[lane];
    y[lane + 32] = second[lane + 32] * cosine[lane] + first[lane + 32] * sine[lane];
  }
  for (uint32_t g = 0; g < group; g++) {
    float *to = lane_scores + g * kvq::chunk_tokens;
    const float a = re[g * stride + pair], b = im[g * stride + pair];
    for (uint32_t lane = 0; lane < 64; lane++) to[lane] += a * x[lane] + b * y[lane];
  }
}

void score_page(const kvq_attention_tables *tables, uint32_t head, const kvq::workspace &work, const kvq_page_view &page, float *scores) {
  const kvq::key_tables &key = tables->key;
  const uint8_t *codes = page.key + kvq_head_offset(&key.layout, head);
  for (uint32_t g = 0; g < work.group; g++) for (uint32_t lane = 0; lane < 64; lane++) scores[g * kvq::chunk_tokens + lane] = 0;
  for (uint32_t code = 0; code < key.head_dim; code++) decode_key_row(key, head, codes, code, work.table + code * 64);
  if (key.layout.outliers) {
    each_outlier(page.key + page.key_outliers[head], page.tokens, [&](uint32_t token, uint32_t code, float delta) { work.table[code * 64 + lane_of_token(token)] += delta; });
  }
  for (uint32_t pair = 0; pair < key.pairs; pair++) {
    score_pair(*tables->rope, pair, work.table + pair * 128, work.table + pair * 128 + 64, work.re, work.im, key.padded_pairs, work.group, scores);
  }
  for (uint32_t g = 0; g < work.group; g++) {  // lanes 0 .. 31 are tokens 31 .. 0
    float *row = scores + g * kvq::chunk_tokens;
    for (uint32_t lane = 0; lane < 16; lane++) {
      const float other = row[31 - lane];
      row[31 - lane] = row[lane];
      row[lane] = other;
    }
  }
}

void scores(const kvq_attention_tables *tables, uint32_t head, kvq::workspace &work, kvq::page_run run) {
  for (size_t i = 0; i < run.count; i++) {
    if (run.pages[i].start != work.start) kvq::turn_query(tables, work, run.pages[i].start);
    score_page(tables, head, work, run.pages[i], work.scores + i * KVQ_PAGE_TOKENS);
  }
}

void weigh(kvq::workspace &work, uint32_t head_dim, uint32_t tokens) {
  for (uint32_t g = 0; g < work.group; g++) {
    float *row = work.scores + g * kvq::chunk_tokens, most = work.maximum[g];
    for (uint32_t t = 0; t < tokens; t++) most = row[t] > most ? row[t] : most;
    const float keep = std::exp2(work.maximum[g] - most);
    work.maximum[g] = most;
    work.zero_sum[g] *= keep;
    for (uint32_t c = 0; c < head_dim; c++) work.sum[g * head_dim + c] *= keep;
    float total = 0;
    for (uint32_t t = 0; t < tokens; t++) total += row[t] = std::exp2(row[t] - most);
    work.total[g] = work.total[g] * keep + total;
  }
}

// Levels of a head, unscaled, as rows of tokens [64][head_dim].
void decode_value_levels(const kvq::value_tables &value, const uint8_t *codes, float *rows) {
  uint8_t lane_codes[64];
  const uint32_t groups = value.head_dim / 16;
  for (uint32_t vector = 0; vector < value.head_dim; vector++) {
    read_value_codes(codes, value.bits, vector, lane_codes);
    float *to = rows + vector / groups * 4 * value.head_dim + vector % groups * 16;
    for (uint32_t lane = 0; lane < 64; lane++) to[lane % 4 * value.head_dim + lane / 4] = value.levels[lane_codes[lane]];
  }
}

void weigh_page(const kvq_attention_tables *tables, uint32_t head, kvq::workspace &work, const kvq_page_view &page, const float *weights) {
  const kvq::value_tables &value = tables->value;
  const uint32_t head_dim = value.head_dim;
  decode_value_levels(value, page.value + kvq_head_offset(&value.layout, head), work.table);
  for (uint32_t t = 0; t < page.tokens; t++) {
    const float scale = token_number(value.layout, page.value, 0, t), zero = value.rotated ? 0 : token_number(value.layout, page.value, 1, t);
    const float *row = work.table + t * head_dim;
    for (uint32_t g = 0; g < work.group; g++) {
      const float weight = weights[g * kvq::chunk_tokens + t], scaled = weight * scale;
      float *sum = work.sum + g * head_dim;
      for (uint32_t c = 0; c < head_dim; c++) sum[c] += scaled * row[c];
      work.zero_sum[g] += weight * zero;
    }
  }
  if (!value.layout.outliers) return;
  each_outlier(page.value + page.value_outliers[head], page.tokens, [&](uint32_t token, uint32_t channel, float delta) {
    for (uint32_t g = 0; g < work.group; g++) work.sum[g * head_dim + channel] += weights[g * kvq::chunk_tokens + token] * delta;
  });
}

void values(const kvq_attention_tables *tables, uint32_t head, kvq::workspace &work, kvq::page_run run) {
  for (size_t i = 0; i < run.count; i++) weigh_page(tables, head, work, run.pages[i], work.scores + i * KVQ_PAGE_TOKENS);
}

void stage_keys(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, kvq::workspace &work) {
  const kvq::key_tables &key = tables->key;
  const kvq_rope &rope = *tables->rope;
  const uint8_t *codes = page.key + kvq_head_offset(&key.layout, head);
  const uint32_t rotary = rope.rotary_dim / 2;
  kvq_rope_at(&rope, static_cast<double>(page.start) + 31.5, work.cosine, work.sine);
  for (uint32_t code = 0; code < key.head_dim; code++) decode_key_row(key, head, codes, code, work.table + code * 64);
  if (key.layout.outliers) {
    each_outlier(page.key + page.key_outliers[head], page.tokens, [&](uint32_t token, uint32_t code, float delta) { work.table[code * 64 + lane_of_token(token)] += delta; });
  }
  for (uint32_t pair = 0; pair < key.pairs; pair++) {
    const float *first = work.table + pair * 128, *second = first + 64;
    const bool rotates = pair < rotary;
    float *x = keys + (rotates ? pair : 2 * pair) * size_t(64), *y = keys + (rotates ? pair + rotary : 2 * pair + 1) * size_t(64);
    for (uint32_t t = 0; t < KVQ_PAGE_TOKENS; t++) {
      const uint32_t lane = lane_of_token(t);
      const float c = rope.offset_cos[pair * 32 + lane % 32], s = t < 32 ? -rope.offset_sin[pair * 32 + lane] : rope.offset_sin[pair * 32 + lane - 32];
      const float cosine = work.cosine[pair] * c - work.sine[pair] * s, sine = work.sine[pair] * c + work.cosine[pair] * s;
      x[t] = t < page.tokens ? first[lane] * cosine - second[lane] * sine : 0;
      y[t] = t < page.tokens ? first[lane] * sine + second[lane] * cosine : 0;
    }
  }
}

// Normalised Hadamard transform of each `block` of a row.
void transform_row(float *row, uint32_t count, uint32_t block) {
  for (uint32_t stride = 1; stride < block; stride *= 2) {
    for (uint32_t start = 0; start < count; start += 2 * stride) {
      for (uint32_t i = start; i < start + stride; i++) {
        const float a = row[i], b = row[i + stride];
        row[i] = a + b;
        row[i + stride] = a - b;
      }
    }
  }
  const float gain = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  for (uint32_t i = 0; i < count; i++) row[i] *= gain;
}

void stage_values(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *values) {
  const kvq::value_tables &value = tables->value;
  const uint32_t head_dim = value.head_dim;
  decode_value_levels(value, page.value + kvq_head_offset(&value.layout, head), values);
  for (uint32_t t = 0; t < KVQ_PAGE_TOKENS; t++) {
    float *row = values + static_cast<size_t>(t) * head_dim;
    if (t >= page.tokens) {
      for (uint32_t c = 0; c < head_dim; c++) row[c] = 0;
      continue;
    }
    const float scale = token_number(value.layout, page.value, 0, t);
    if (!value.rotated) {
      const float zero = token_number(value.layout, page.value, 1, t);
      for (uint32_t c = 0; c < head_dim; c++) row[c] = row[c] * scale + zero;
      continue;
    }
    const float *deviation = value.deviation + static_cast<size_t>(head) * head_dim, *mean = value.mean + static_cast<size_t>(head) * head_dim;
    for (uint32_t c = 0; c < head_dim; c++) row[c] = row[c] * scale * deviation[c] + mean[c];
    transform_row(row, head_dim, value.hadamard_block);
  }
  if (!value.layout.outliers) return;
  each_outlier(page.value + page.value_outliers[head], page.tokens, [&](uint32_t token, uint32_t channel, float delta) { values[static_cast<size_t>(token) * head_dim + channel] += delta; });
}

void finish(const kvq_attention_tables *tables, uint32_t head, const kvq::workspace &work, kvq_partial out) {
  const kvq::value_tables &value = tables->value;
  const uint32_t head_dim = value.head_dim;
  for (uint32_t g = 0; g < work.group; g++) {
    const float *sum = work.sum + static_cast<size_t>(g) * head_dim;
    float *to = out.sum + static_cast<size_t>(g) * head_dim;
    out.maximum[g] = work.maximum[g];
    out.total[g] = work.total[g];
    if (value.rotated) {
      const float *deviation = value.deviation + static_cast<size_t>(head) * head_dim, *mean = value.mean + static_cast<size_t>(head) * head_dim;
      for (uint32_t c = 0; c < head_dim; c++) to[c] = sum[c] * deviation[c] + mean[c] * work.total[g];
      transform_row(to, head_dim, value.hadamard_block);
    } else {
      for (uint32_t c = 0; c < head_dim; c++) to[c] = sum[c] + work.zero_sum[g];
    }
  }
}

}  // namespace

void kvq::scalar::stage_page(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, float *values, void *scratch) {
  workspace work = carve_workspace(scratch, tables->key.head_dim, 1, nullptr);
  stage_keys(tables, head, page, keys, work);
  stage_values(tables, head, page, values);
}

const kvq::page_kernels kvq::scalar::exact_pages = {scores, weigh, values, finish, stage_page, false, 1, "scalar fp32", "scalar fp32"};
