// Encoders on the lanes of ops/page/lanes.scalar.h.
#include "ops/page/lanes.scalar.h"

#include "ops/encode/encode-page.h"
#include "ops/encode/encode.h"

kvq_status kvq::scalar::encode_keys(const kvq_key_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  return encode_keys_page(plan, x, tokens, out, scratch, encoded);
}

kvq_status kvq::scalar::encode_values(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  return encode_values_page(plan, x, tokens, out, scratch, encoded);
}
