/* Attention of new queries over a cache. The caller splits the work by KV head and page range, runs the parts on any threads, and merges their partial results.
   Group G = query heads a KV head, any number from 1; all of them are answered in one pass over keys and values. */
#ifndef KVQUANT_ATTENTION_H
#define KVQUANT_ATTENTION_H

#include "isa.h"
#include "page.h"
#include "rope.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A closed page as attention sees it. */
typedef struct kvq_page_view {
  const uint8_t *key;             /* block; KVQ_BLOCK_ALIGNMENT, followed by KVQ_BLOCK_PADDING readable bytes */
  const uint8_t *value;           /* the same */
  const uint32_t *key_outliers;   /* [kv_heads] from kvq_check_block; NULL when the layout has none */
  const uint32_t *value_outliers; /* the same */
  uint64_t start;                 /* position of its first token */
  uint32_t tokens;                /* valid tokens, 1 .. 64 */
} kvq_page_view;

/* Exact tokens: up to 64 of them, keys rotated to their positions, all in fp16. One KV head after another:
     key    [kv_heads][head_dim][64]                            channel-major
     value  [kv_heads][panel][64][min(64, head_dim - 64 * panel)]   panels of 64 channels, the last one narrower
   Unused tokens hold finite numbers (zeros). 64-byte aligned. */
typedef struct kvq_exact_view {
  const uint16_t *key;
  const uint16_t *value;
  uint32_t tokens; /* valid ones, counted from 0 */
} kvq_exact_view;

/* Unnormalised attention of G queries over a part of the keys: weights are 2^(score * log2(e) - maximum). */
typedef struct kvq_partial {
  float *maximum; /* [G], base 2; -infinity when the part has no key */
  float *total;   /* [G], sum of weights */
  float *sum;     /* [G][head_dim], sum of weight * value, in plain channel order (rotated values already rotated back) */
} kvq_partial;

/* Tables prepared once for a layer from its plans: what the kernels of one ISA look up. */
typedef struct kvq_attention_tables kvq_attention_tables;

typedef enum kvq_precision {
  KVQ_FAST = 0, /* 16-bit fixed point keys and 16-bit weights where the ISA has them: logits within 2e-3 for |score| up to 10 */
  KVQ_EXACT = 1 /* fp32: logits within 1e-4 */
} kvq_precision;

/* UNSUPPORTED when head_dim is no multiple of 16 or above 256, or bits are not 2 .. 5. */
kvq_status kvq_attention_tables_create(kvq_isa isa, kvq_precision precision, const kvq_key_plan *key, const kvq_value_plan *value, const kvq_rope *rope, kvq_attention_tables **out);
void kvq_attention_tables_destroy(kvq_attention_tables *tables);
/* Bytes they take. */
size_t kvq_attention_tables_bytes(const kvq_attention_tables *tables);
/* Name of the code path, such as "avx512 int16 keys, int8 values"; static storage. side 0: keys, 1: values. */
const char *kvq_attention_path(const kvq_attention_tables *tables, int side);

/* Bytes of scratch (64-byte aligned) of one running call below, for a group of G. */
size_t kvq_attention_scratch(uint32_t head_dim, uint32_t group);

/* Decode attention over `count` pages (at least one) of KV head `head`.
   q [G][head_dim]: queries of one token, channel order, BEFORE RoPE, not scaled; `position` its position; scale = 1 / sqrt(head_dim). */
void kvq_attend_pages(const kvq_attention_tables *tables, uint32_t head, const float *q, uint32_t group, uint64_t position, float scale, const kvq_page_view *pages, size_t count,
                      kvq_partial out, void *scratch);

/* Decode attention over exact tokens in `count` views. q [G][head_dim]: rotated, with the attention factor's square, not scaled. head_dim: a multiple of 8. */
void kvq_attend_exact(kvq_isa isa, uint32_t head_dim, uint32_t kv_heads, uint32_t head, const float *q, uint32_t group, float scale, const kvq_exact_view *views, size_t count, kvq_partial out,
                      void *scratch);

/* out [G][head_dim] = the normalised attention over the union of `count` parts. At least one part has a key. Parts are added in order. */
void kvq_merge_partials(const kvq_partial *parts, size_t count, uint32_t group, uint32_t head_dim, float *out);

/* Writes one token into slot `slot` of exact storage: key [kv_heads * head_dim] already rotated, value the same size; rounded to fp16 (nearest even). */
void kvq_write_exact(uint32_t kv_heads, uint32_t head_dim, const float *key, const float *value, uint16_t *key_page, uint16_t *value_page, uint32_t slot);

/* ---- prefill: many queries of a sequence against one page of keys at a time, all fp32 ---- */

/* Tile of one KV head: keys [head_dim][64], rotated; values [64][head_dim]; rows and columns beyond the valid tokens are 0. */
void kvq_stage_page(const kvq_attention_tables *tables, uint32_t head, const kvq_page_view *page, float *keys, float *values, void *scratch);
void kvq_stage_exact(kvq_isa isa, uint32_t head_dim, uint32_t kv_heads, uint32_t head, const kvq_exact_view *view, float *keys, float *values);

/* Running softmax of `rows` query rows; start with maximum = -infinity, total = 0, sum = 0. */
typedef struct kvq_rows_state {
  float *maximum; /* [rows] */
  float *total;   /* [rows] */
  float *sum;     /* [rows][head_dim] */
} kvq_rows_state;

/* Adds a tile to rows 0 .. rows-1: q [rows][head_dim] rotated, times attention factor^2 and scale * log2(e). seen [rows]: tokens of the tile that the row sees, counted from 0 (0 .. 64).
   A row's result does not depend on which other rows are in the call. scratch: kvq_tile_scratch(rows). */
void kvq_attend_tile(kvq_isa isa, uint32_t head_dim, const float *q, uint32_t rows, const float *keys, const float *values, const uint8_t *seen, kvq_rows_state state, void *scratch);
size_t kvq_tile_scratch(uint32_t rows);

/* out [rows][head_dim] = sum / total. */
void kvq_finish_rows(uint32_t head_dim, uint32_t rows, kvq_rows_state state, float *out);

#ifdef __cplusplus
}
#endif
#endif
