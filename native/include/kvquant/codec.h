/* Encoding and decoding of blocks. Every ISA writes the bytes, and decodes to the fp32 numbers, of the TypeScript reference in
   packages/quant (docs/format.md section 2): fp32, no fused multiply-add, stated order. */
#ifndef KVQUANT_CODEC_H
#define KVQUANT_CODEC_H

#include "isa.h"
#include "page.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvq_encoded {
  size_t bytes;       /* length of the block */
  uint32_t saturated; /* values that took the end level because no outlier slot was left, or that lie outside the thresholds */
  uint32_t clamped;   /* page-local scales and zero points that were clamped */
} kvq_encoded;

/* Bytes of scratch (64-byte aligned) that the calls below need for a page. */
size_t kvq_codec_scratch(uint32_t kv_heads, uint32_t head_dim);

/* Encodes `tokens` rows (1 .. 64) of finite fp32 `x` [tokens, kv_heads * head_dim] into `out` (capacity: kvq_block_capacity). Bytes beyond the block stay untouched.
   KVQ_INVALID_ARGUMENT when sums or differences of the rows leave fp32, so that a number of the block would be none; `out` is then unspecified up to the capacity. */
kvq_status kvq_encode_keys(kvq_isa isa, const kvq_key_plan *plan, const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded);
kvq_status kvq_encode_values(kvq_isa isa, const kvq_value_plan *plan, const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded);

/* Checks a block of `bytes` bytes that holds `tokens` tokens and writes the byte offset of each head's outlier section to outlier_offsets [kv_heads]
   (may be NULL when the layout has none). KVQ_CORRUPT_DATA for a wrong length, counts beyond the bytes or beyond `tokens`, an index outside the head, a delta or token
   number that is not finite. Reads only block[0 .. bytes). Every block from outside passes through here before decoding or attention. */
kvq_status kvq_check_block(const kvq_block_layout *layout, const uint8_t *block, size_t bytes, uint32_t tokens, uint32_t *outlier_offsets);

/* Decodes a checked block into `out` [tokens, kv_heads * head_dim]. */
void kvq_decode_keys(kvq_isa isa, const kvq_key_plan *plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, void *scratch);
void kvq_decode_values(kvq_isa isa, const kvq_value_plan *plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, void *scratch);

#ifdef __cplusplus
}
#endif
#endif
