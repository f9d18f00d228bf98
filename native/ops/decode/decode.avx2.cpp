// Decoders on the lanes of ops/page/lanes.avx2.h.
#if defined(__x86_64__)
#include "ops/page/lanes.avx2.h"

#include "ops/decode/decode-page.h"
#include "ops/decode/decode.h"

void kvq::avx2::decode_keys(const kvq_key_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  decode_keys_page(plan, block, tokens, outlier_offsets, out, scratch);
}

void kvq::avx2::decode_values(const kvq_value_plan &plan, const uint8_t *block, uint32_t tokens, const uint32_t *outlier_offsets, float *out, uint8_t *scratch) {
  decode_values_page(plan, block, tokens, outlier_offsets, out, scratch);
}

#endif
