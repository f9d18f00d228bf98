// kvq_attend_pages: prepares the query, runs scores, softmax and values chunk by chunk, and brings the sums back to plain channels.
#include <cmath>

#include "ops/attend-pages/attend-pages.h"

namespace {

constexpr float log2_e = 1.44269504088896340736f;

// q [G][head_dim] in channel order -> pairs in code order, times scale * log2(e), rotary pairs times attention_factor^2 as well.
void load_query(const kvq_attention_tables *tables, const float *q, float scale, kvq::workspace &work) {
  const kvq_rope &rope = *tables->rope;
  const uint32_t head_dim = tables->key.head_dim, pairs = tables->key.pairs, padded = tables->key.padded_pairs, rotary = rope.rotary_dim / 2;
  const float plain = scale * log2_e, rotated = plain * rope.attention_factor * rope.attention_factor;
  for (uint32_t g = 0; g < work.group; g++) {
    const float *from = q + static_cast<size_t>(g) * head_dim;
    float *re = work.base_re + g * padded, *im = work.base_im + g * padded, *magnitude = work.magnitude + g * padded;
    for (uint32_t p = 0; p < rotary; p++) re[p] = from[p] * rotated, im[p] = from[p + rotary] * rotated;
    for (uint32_t p = rotary; p < pairs; p++) re[p] = from[2 * p] * plain, im[p] = from[2 * p + 1] * plain;
    for (uint32_t p = pairs; p < padded; p++) re[p] = im[p] = work.re[g * padded + p] = work.im[g * padded + p] = 0;
    for (uint32_t p = 0; p < padded; p++) magnitude[p] = std::sqrt(re[p] * re[p] + im[p] * im[p]);
  }
}

// Tokens beyond a page's count get no weight.
void mask_scores(kvq::workspace &work, kvq::page_run run) {
  for (size_t i = 0; i < run.count; i++) {
    for (uint32_t t = run.pages[i].tokens; t < KVQ_PAGE_TOKENS; t++) {
      for (uint32_t g = 0; g < work.group; g++) work.scores[g * kvq::chunk_tokens + i * KVQ_PAGE_TOKENS + t] = -INFINITY;
    }
  }
}

}  // namespace

kvq::workspace kvq::begin_pages(const kvq_attention_tables *tables, uint32_t head, const float *q, uint32_t group, uint64_t position, float scale, uint64_t start, void *scratch) {
  const uint32_t head_dim = tables->key.head_dim, padded = tables->key.padded_pairs;
  workspace work = carve_workspace(scratch, head_dim, group, nullptr);
  work.position = position;
  load_query(tables, q, scale, work);
  if (tables->kernels->fixed_keys) fit_query(work, tables->key.grid + static_cast<size_t>(head) * padded, padded, query_gain(group), work.factor, work.inverse);
  turn_query(tables, work, start);
  for (uint32_t g = 0; g < group; g++) work.maximum[g] = -INFINITY, work.total[g] = work.zero_sum[g] = 0;
  for (size_t i = 0; i < static_cast<size_t>(group) * head_dim; i++) work.sum[i] = 0;
  return work;
}

namespace {

// Fetches the first pages while the query is prepared; later ones are fetched by the kernels. (A call of 4,096 tokens waited about a tenth of its time for them.)
void prefetch_first_keys(const kvq_block_layout &layout, uint32_t head, const kvq_page_view *pages, size_t count) {
  for (size_t i = 0; i < count && i < kvq::key_pages_ahead; i++) {
    const uint8_t *block = pages[i].key + kvq_head_offset(&layout, head);
    for (uint32_t b = 0; b < layout.codes_bytes + layout.side_bytes; b += 64) __builtin_prefetch(block + b, 0, 2);
  }
}

}  // namespace

void kvq_attend_pages(const kvq_attention_tables *tables, uint32_t head, const float *q, uint32_t group, uint64_t position, float scale, const kvq_page_view *pages, size_t count,
                      kvq_partial out, void *scratch) {
  const kvq::page_kernels &kernels = *tables->kernels;
  const uint32_t head_dim = tables->key.head_dim;
  prefetch_first_keys(tables->key.layout, head, pages, count);
  kvq::workspace work = kvq::begin_pages(tables, head, q, group, position, scale, pages[0].start, scratch);
  for (size_t first = 0; first < count; first += kvq::chunk_pages) {
    const size_t pages_now = count - first < kvq::chunk_pages ? count - first : kvq::chunk_pages;
    const kvq::page_run run{pages + first, pages_now, count - first - pages_now};
    kernels.scores(tables, head, work, run);
    mask_scores(work, run);
    kernels.weigh(work, head_dim, static_cast<uint32_t>(pages_now) * KVQ_PAGE_TOKENS);
    kernels.values(tables, head, work, run);
  }
  kernels.finish(tables, head, work, out);
}

void kvq_stage_page(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view *page, float *keys, float *values, void *scratch) {
  tables->kernels->stage(tables, head, *page, keys, values, scratch);
}
