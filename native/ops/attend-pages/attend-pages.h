// Decode attention over compressed pages: the internal contract between the driver (attend-pages.cpp) and the kernels of the ISAs.
// A call goes through its pages in chunks of 8 (512 tokens): scores of all G queries, online softmax in base 2, weighted values. Keys are never rotated to their position: a table holds the
// angles of the 64 tokens around the middle of a page, and the query is turned to (position - middle) of each page instead.
#pragma once

#include "kvquant/attention.h"

namespace kvq {

constexpr uint32_t chunk_pages = 8;
constexpr uint32_t chunk_tokens = chunk_pages * KVQ_PAGE_TOKENS;
constexpr uint32_t largest_head_dim = 256;
// How far ahead codes are prefetched, in pages: keys from memory to L2, values, which came to L2 beside the chunk's keys, on to L1.
constexpr uint32_t key_pages_ahead = 2, value_pages_ahead = 2;
// Pairs are handled 16 at a time: queries and angles are padded to whole vectors.
constexpr uint32_t pair_lanes = 16;
// Fixed point queries lie this many pairs apart whatever the head dim: constant offsets in the kernels.
constexpr uint32_t fixed_stride = largest_head_dim / 2;

// Fixed point keys: the grid of pair p puts its calibrated range, with a tenth to spare, at largest_fixed_key; page tables beyond it take a coarser grid (keys-fixed.avx512.cpp).
constexpr float largest_fixed_key = 32600.0f;
constexpr float fixed_key_headroom = 1.1f;
// Scores are flushed to fp32 every flush_pairs pairs. Sum of the fixed point query over them: 65,500 * 32,767 < 2^31 cannot overflow. One number must fit in 16 bits.
constexpr uint32_t flush_pairs = 16;
constexpr float largest_query_sum = 65500.0f;
constexpr float largest_query = 32700.0f;
// A single query is rotated, and rounded, instead of the keys: it gets a bit more, and the keys, at half the grid's resolution, one less.
constexpr float single_query_gain = 2.0f;

// Keys of a layer as kernels read them; arrays by code index.
struct key_tables {
  kvq_block_layout layout;
  uint32_t head_dim, pairs, padded_pairs, bits;
  uint32_t entries; /* table entries a code: 16, or 32 at 5 bits; shorter codebooks repeat, so that bits above a code need no mask */
  uint32_t page_scales;
  float level_reach; /* largest |level| */
  const float *levels;        /* [32], repeated */
  const float *scale, *zero;  /* [kv_heads][head_dim] */
  const float *table;         /* [kv_heads][head_dim][entries] scale * level + zero; NULL with page scales */
  const float *grid;          /* [kv_heads][padded_pairs] value of one fixed point unit; the rest of this struct: fast AVX-512 only */
  const int16_t *fixed_table; /* [kv_heads][head_dim][2^bits] `table` in grid units */
  const float *fixed_scale, *fixed_zero, *fixed_step; /* [kv_heads][head_dim] scale * level_reach * 2^-12, zero - 2 * scale, scale / 64 in grid units: a page's bytes need no offset */
  const int16_t *fixed_levels; /* [32] 32767 * level / level_reach */
  const int16_t *query_angles; /* [pairs][4][32]: cos, cos and sin, -sin of token pairs in the lane order of unpacklo, then the same of unpackhi */
};

struct value_tables {
  kvq_block_layout layout;
  uint32_t head_dim, bits, rotated, hadamard_block;
  const float *levels;           /* [32], repeated */
  const int8_t *fixed_levels;    /* [64] 127 * level, repeated */
  const float *mean, *deviation; /* [kv_heads][head_dim] */
};

// Working memory of a call (kvq_attention_scratch). [G] below is the group.
struct workspace {
  uint32_t group;
  // query, in code order, times scale * log2(e); pairs as (re, im), [G][padded_pairs]; fixed point kernels keep the turned one times its factors
  float *base_re, *base_im; /* at angle 0 */
  float *re, *im;           /* turned by position - middle of the page at `start` */
  float *cosine, *sine;     /* [padded_pairs] */
  uint64_t position, start;
  uint32_t steps; /* pages since the last exact turn */
  uint32_t slot;  /* half of `fixed` that holds the next page's query */
  uint32_t primed; /* 1 when it does */
  // fixed point query
  float *factor;     /* [G][padded_pairs] units per query value */
  float *inverse;    /* [G][16] score of one unit of the accumulator, a flush each */
  float *page_factor, *page_inverse; /* the same for a page beyond the grid */
  float *page_grid;  /* [padded_pairs] */
  uint32_t *fixed;   /* [2][G][fixed_stride] (im << 16 | re) of a page and of the next one */
  uint32_t *swapped; /* the same with re and im exchanged */
  float *magnitude;  /* [G][padded_pairs] */
  // chunk
  float *scores;  /* [G][chunk_tokens]; then weights */
  uint8_t *bytes; /* [G][2][chunk_tokens] high and low bytes of fixed point weights */
  float *token_scale, *token_zero; /* [chunk_tokens] */
  int32_t *whole; /* [head_dim / 16][G][2][16] fixed point sums */
  float *sum;     /* [G][head_dim] */
  float *zero_sum; /* [G] sum of weight * zero */
  float *maximum, *total; /* [G] */
  float *unit; /* [G] value of one unit of a fixed point weight */
  // page
  float *table; /* [head_dim][64]: tables or decoded rows of a page */
  uint8_t *staged; /* codes or levels of a page */
  float *outlier_queries; /* [G / 8][padded_pairs][2][8] */
  float *added; /* [G up to a multiple of 8][64] outlier parts of a page's scores */
};

// Pages of a chunk; `following` more lie behind them in memory order (for prefetches).
struct page_run {
  const kvq_page_view *pages;
  size_t count, following;
};

struct page_kernels {
  // scores[g][64 i + t] of the run's pages. Numbers of tokens beyond a page's count do not matter.
  void (*scores)(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run);
  // Online softmax over `tokens` scores a query: updates maximum and total, scales sum and zero_sum, turns scores into weights.
  void (*weigh)(workspace &work, uint32_t head_dim, uint32_t tokens);
  // sum += weight * level * token scale (+ outliers), zero_sum += weight * token zero.
  void (*values)(const kvq_attention_tables *tables, uint32_t head, workspace &work, page_run run);
  // Sums brought back to plain channels: means, deviations and the transform of rotated values, zero points of the others.
  void (*finish)(const kvq_attention_tables *tables, uint32_t head, const workspace &work, kvq_partial out);
  void (*stage)(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, float *values, void *scratch);
  bool fixed_keys; /* needs the fixed point tables and queries */
  uint32_t resync; /* pages after which the query is turned exactly again */
  const char *key_path, *value_path;
};

namespace scalar { extern const page_kernels exact_pages; }
namespace avx2 { extern const page_kernels fast_pages, exact_pages; }
namespace avx512 { extern const page_kernels fast_pages, exact_pages; }

// A call before its first chunk: query loaded and turned to the page at `start`, sums zero.
workspace begin_pages(const kvq_attention_tables *tables, uint32_t head, const float *q, uint32_t group, uint64_t position, float scale, uint64_t start, void *scratch);
// Turns the query exactly to the middle of the page at `start` (re, im).
void turn_query(const kvq_attention_tables *tables, workspace &work, uint64_t start);
// Fixed point factors from the magnitudes of the query and a grid.
void fit_query(const workspace &work, const float *grid, uint32_t padded_pairs, float gain, float *factor, float *inverse);
// How much coarser than the grid a page's keys are, and larger its query.
float query_gain(uint32_t group);
uint32_t channel_of_code(const kvq_key_plan &plan, uint32_t code);

workspace carve_workspace(void *scratch, uint32_t head_dim, uint32_t group, size_t *bytes);
// The scalar kvq_stage_page.
namespace scalar { void stage_page(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view &page, float *keys, float *values, void *scratch); }

}  // namespace kvq

struct kvq_attention_tables {
  const kvq::page_kernels *kernels;
  const kvq_rope *rope;
  size_t bytes;
  kvq::key_tables key;
  kvq::value_tables value;
};
