/* Page format v1 (docs/format.md section 1): sizes and offsets of a block, and the fitted plans that codecs and kernels read.
   A page covers up to 64 consecutive tokens of one layer: a key block and a value block, each over all KV heads. */
#ifndef KVQUANT_PAGE_H
#define KVQUANT_PAGE_H

#include <stddef.h>
#include <stdint.h>

#define KVQ_PAGE_TOKENS 64
/* Outlier slots a token and head: counts are 4-bit numbers. */
#define KVQ_OUTLIER_SLOTS 15
/* Blocks in memory start at a multiple of this. */
#define KVQ_BLOCK_ALIGNMENT 64
/* Zero bytes that follow a block in memory, so that vector loads may run over its end. Not part of the format. */
#define KVQ_BLOCK_PADDING 128

/* Byte layout of a block:
     head 0 .. head kv_heads-1   codes_bytes of codes, then side_bytes of side data, each
     token data                  token_arrays x fp16[64]
     outliers                    only if outliers != 0: kv_heads sections, each 32 B of 4-bit counts, fp16 deltas, u8 indices, zeros up to a multiple of 4
   head_dim is a multiple of 16, so every head starts at a multiple of 64 bytes. */
typedef struct kvq_block_layout {
  uint32_t kv_heads;
  uint32_t head_dim;
  uint32_t bits;         /* 2, 3, 4, 5 */
  uint32_t codes_bytes;  /* 64 * head_dim * bits / 8 */
  uint32_t side_bytes;   /* page-local key scales: 2 * head_dim up to a multiple of 64; else 0 */
  uint32_t token_arrays; /* keys 0, rotated values 1, token values 2 */
  uint32_t outliers;     /* 0 or 1 */
} kvq_block_layout;

static inline size_t kvq_head_offset(const kvq_block_layout *layout, uint32_t head) {
  return (size_t)head * (layout->codes_bytes + layout->side_bytes);
}
static inline size_t kvq_token_data_offset(const kvq_block_layout *layout) { return kvq_head_offset(layout, layout->kv_heads); }
static inline size_t kvq_outliers_offset(const kvq_block_layout *layout) {
  return kvq_token_data_offset(layout) + (size_t)layout->token_arrays * KVQ_PAGE_TOKENS * 2;
}
/* Largest size a block can have. */
static inline size_t kvq_block_capacity(const kvq_block_layout *layout) {
  return kvq_outliers_offset(layout) + (layout->outliers ? (size_t)layout->kv_heads * (32 + KVQ_PAGE_TOKENS * KVQ_OUTLIER_SLOTS * 3) : 0);
}

/* Fitted key quantizer of a layer (`kvquant/channel-keys` when page_scales is 0, else `kvquant/page-keys`); pre-RoPE. Arrays are borrowed.
   Channels are numbered 0 .. head_dim-1 within a head with half-split RoPE: pair p is (p, p + rotary_dim / 2).
   Code index j: 2p + h is channel p + h * rotary_dim / 2; from rotary_dim on, j is channel j. */
typedef struct kvq_key_plan {
  uint32_t kv_heads, head_dim, rotary_dim, bits;
  uint32_t page_scales;           /* 1: scales and zero points in each page */
  uint32_t outliers;              /* 1: blocks carry outlier sections (offline scales only) */
  const float *scale;             /* [kv_heads * head_dim], by channel; fp16 numbers */
  const float *zero;              /* the same */
  const float *low, *high;        /* thresholds [kv_heads * head_dim]; NULL with page scales */
  const float *levels;            /* [2^bits], ascending, of the form k/127 */
  const float *midpoints;         /* [2^bits - 1] */
  const uint16_t *feedback_order; /* [kv_heads * head_dim] channel rounded as the r-th; NULL without feedback */
  const float *feedback_weights;  /* [kv_heads * head_dim * (head_dim - 1) / 2], W_jz for ranks j < z, row after row */
} kvq_key_plan;

/* Fitted value quantizer of a layer (`kvquant/token-values`, or `kvquant/rotated-values` when rotated). Arrays are borrowed. */
typedef struct kvq_value_plan {
  uint32_t kv_heads, head_dim, rotary_dim, bits;
  uint32_t rotated;       /* 1: Hadamard rotation, per-channel mean and deviation, one fp16 (3 rms) a token */
  uint32_t outlier_count; /* outliers of a token over all heads (token values only); > 0: blocks carry outlier sections */
  const float *levels, *midpoints;
  const float *mean, *deviation; /* [kv_heads * head_dim], rotated values only; fp16 numbers */
} kvq_value_plan;

#ifdef __cplusplus
extern "C" {
#endif

kvq_block_layout kvq_key_layout(const kvq_key_plan *plan);
kvq_block_layout kvq_value_layout(const kvq_value_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
