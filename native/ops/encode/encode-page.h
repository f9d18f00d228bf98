// Encoders of a page for the instruction set of `lanes`, by bits and quantizer.
// The file that includes this one defines `lanes` first.
#pragma once

#include "ops/encode/encode-keys.h"
#include "ops/encode/encode-values.h"

namespace {

inline kvq_status encode_keys_page(const kvq_key_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  switch (plan.bits) {
    case 2: return encode_keys_of<2>(plan, x, tokens, out, scratch, encoded);
    case 3: return encode_keys_of<3>(plan, x, tokens, out, scratch, encoded);
    case 4: return encode_keys_of<4>(plan, x, tokens, out, scratch, encoded);
    case 5: return encode_keys_of<5>(plan, x, tokens, out, scratch, encoded);
    default: return KVQ_UNSUPPORTED;
  }
}

template <uint32_t Bits>
inline kvq_status encode_values_of(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch_memory, kvq_encoded &encoded) {
  codec_scratch scratch(scratch_memory, plan.kv_heads, plan.head_dim);
  if (plan.rotated) return encode_rotated_values<Bits>(plan, x, tokens, out, scratch, encoded);
  encode_token_values<Bits>(plan, x, tokens, out, scratch, encoded);
  return KVQ_OK;
}

inline kvq_status encode_values_page(const kvq_value_plan &plan, const float *x, uint32_t tokens, uint8_t *out, uint8_t *scratch, kvq_encoded &encoded) {
  switch (plan.bits) {
    case 2: return encode_values_of<2>(plan, x, tokens, out, scratch, encoded);
    case 3: return encode_values_of<3>(plan, x, tokens, out, scratch, encoded);
    case 4: return encode_values_of<4>(plan, x, tokens, out, scratch, encoded);
    case 5: return encode_values_of<5>(plan, x, tokens, out, scratch, encoded);
    default: return KVQ_UNSUPPORTED;
  }
}

}  // namespace
