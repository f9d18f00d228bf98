// Decoders on the lanes of ops/page/lanes.scalar.h.
#include "ops/page/lanes.scalar.h"

#include "ops/decode/decode-page.h"
#include "ops/decode/decode.h"

void kvq::scalar::decode_keys(const kvq_key_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  decode_keys_page(plan, block, tokens, outlier_offsets, out, scratch);
}

void kvq::scalar::decode_values(const kvq_value_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  decode_values_page(plan, block, tokens, outlier_offsets, out, scratch);
}
