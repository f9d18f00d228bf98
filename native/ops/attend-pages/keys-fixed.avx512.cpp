// The page loop of fixed point scores: query and table of each page, then the kernel.
//
// Page-local scales: the grid of a pair is fixed for the layer (calibrated range and a tenth more), so that queries keep one factor for the whole call. A page with a pair beyond that reach, which the
// squared reaches found while its tables are built tell, gets a grid and query of its own: exact to the same relative precision, about a microsecond slower.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/keys-fixed.avx512.h"

#include "ops/attend-pages/fixed-query.avx512.h"
#include "ops/attend-pages/fixed-tables.avx512.h"
#include "ops/attend-pages/keys-fixed.h"
#include "ops/attend-pages/outliers.avx512.h"
#include "ops/attend-pages/sub-groups.h"

namespace {

// Grid, query and tables of a page beyond the layer's grid.
void widen_page(const kvq_attention_tables *tables, uint32_t head, workspace &work, uint64_t start, uint32_t slot, const uint8_t *side) {
  const key_tables &key = tables->key;
  builder_of(key.bits).build_wide(key, head, side, kvq::query_gain(work.group), work.page_grid, reinterpret_cast<int16_t *>(work.table));
  kvq::fit_query(work, work.page_grid, key.padded_pairs, kvq::query_gain(work.group), work.page_factor, work.page_inverse);
  // The query is a page ahead, in the other slot.
  const uint64_t ahead = work.start;
  kvq::turn_query(tables, work, start);
  pack_query(work, work.page_factor, key.padded_pairs, slot);
  kvq::turn_query(tables, work, ahead);
  pack_query(work, work.factor, key.padded_pairs, slot ^ 1);
}

}  // namespace

void kvq::avx512::fixed_scores(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run) {
  const key_tables &key = tables->key;
  const uint32_t group = work.group;
  const size_t head_offset = kvq_head_offset(&key.layout, head), layer_table = static_cast<size_t>(head) * key.head_dim << key.bits;
  int16_t *page_table = reinterpret_cast<int16_t *>(work.table);
  const auto build = builder_of(key.bits).build;
  if (!work.primed) {
    pack_query(work, work.factor, key.padded_pairs, 0);
    if (!key.page_scales && group == 1) shrink_tables(key, key.fixed_table + layer_table, page_table);
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
    if (left > 0) seek_query(tables, work, run.pages[i + 1].start, slot ^ 1);
    work.slot = slot ^ 1;
    const uint8_t *numbers = view.value + kvq_token_data_offset(&tables->value.layout);  // wanted when this chunk's scores are done
    for (uint32_t b = 0; b < tables->value.layout.token_arrays * KVQ_PAGE_TOKENS * 2; b += 64) _mm_prefetch(reinterpret_cast<const char *>(numbers + b), _MM_HINT_T1);
    fixed_page page{};
    page.codes = view.key + head_offset;
    page.ahead = run.pages[i + (left < key_pages_ahead ? left : key_pages_ahead)].key + head_offset;
    page.table = key.page_scales || group == 1 ? page_table : key.fixed_table + layer_table;
    page.groups = key.head_dim / 16;
    // The chunk's value codes too: values multiply faster than memory delivers them, keys slower. (Fetched beside the values, one query at head dim 128 took 1.25 times as long.)
    page.values_ahead = view.value + kvq_head_offset(&tables->value.layout, head);
    page.values_lines = (tables->value.layout.codes_bytes / 64 + page.groups - 1) / page.groups;
    const float *inverse = work.inverse;
    if (key.page_scales) {
      const uint8_t *side_ahead = page.ahead + key.layout.codes_bytes;
      for (uint32_t j = 0; j < key.layout.side_bytes; j += 64) _mm_prefetch(reinterpret_cast<const char *>(side_ahead + j), _MM_HINT_T1);
      const uint8_t *side = page.codes + key.layout.codes_bytes;
      if (build(key, head, side, query_gain(group), page_table) > largest_fixed_key * largest_fixed_key * 1.0001f) {
        widen_page(tables, head, work, view.start, slot, side);
        inverse = work.page_inverse;
      }
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
