// Encoders on the lanes of ops/page/lanes.avx2.h.
#if defined(__x86_64__)
#include "ops/page/lanes.avx2.h"

#include "ops/encode/encode-page.h"
#include "ops/encode/encode.h"

kvq_status kvq::avx2::encode_keys(const kvq_key_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  return encode_keys_page(plan, x, tokens, out, scratch, encoded);
}

kvq_status kvq::avx2::encode_values(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  return encode_values_page(plan, x, tokens, out, scratch, encoded);
}

#endif
