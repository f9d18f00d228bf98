// Hands checked blocks to the decoders of an instruction set.
#include "ops/decode/decode.h"

#include "ops/common/dispatch.h"

void kvq_decode_keys(kvq_isa isa, const kvq_key_plan *plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, void *scratch) {
  KVQ_SELECT(isa, decode_keys)(*plan, block, tokens, outlier_offsets, out, static_cast<uint8_t *>(scratch));
}

void kvq_decode_values(kvq_isa isa, const kvq_value_plan *plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, void *scratch) {
  KVQ_SELECT(isa, decode_values)(*plan, block, tokens, outlier_offsets, out, static_cast<uint8_t *>(scratch));
}
