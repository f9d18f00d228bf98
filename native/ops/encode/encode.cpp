// Checks a plan and hands it to the encoders of an instruction set.
#include "ops/encode/encode.h"

#include "ops/common/dispatch.h"
#include "ops/page/codec-scratch.h"
#include "ops/page/code-channels.h"

namespace {

kvq_status check_sizes(kvq_isa isa, uint32_t kv_heads, uint32_t head_dim, uint32_t bits, uint32_t tokens) {
  if (tokens < 1 || tokens > KVQ_PAGE_TOKENS || kv_heads < 1 || head_dim < 1) return KVQ_INVALID_ARGUMENT;
  if (head_dim % 16 != 0 || head_dim > maximum_head_dim || bits < 2 || bits > 5 || !kvq_isa_available(isa)) return KVQ_UNSUPPORTED;
  return KVQ_OK;
}

}  // namespace

size_t kvq_codec_scratch(uint32_t kv_heads, uint32_t head_dim) { return codec_scratch(nullptr, kv_heads, head_dim).bytes; }

kvq_status kvq_encode_keys(kvq_isa isa, const kvq_key_plan *plan, const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded) {
  const kvq_status status = check_sizes(isa, plan->kv_heads, plan->head_dim, plan->bits, tokens);
  if (status != KVQ_OK) return status;
  if (plan->rotary_dim > plan->head_dim || plan->rotary_dim % 2 != 0 || (plan->outliers && plan->low == nullptr)) return KVQ_INVALID_ARGUMENT;
  return KVQ_SELECT(isa, encode_keys)(*plan, x, tokens, out, static_cast<uint8_t *>(scratch), *encoded);
}

kvq_status kvq_encode_values(kvq_isa isa, const kvq_value_plan *plan, const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded) {
  const kvq_status status = check_sizes(isa, plan->kv_heads, plan->head_dim, plan->bits, tokens);
  if (status != KVQ_OK) return status;
  if (!plan->rotated && plan->outlier_count >= static_cast<size_t>(plan->kv_heads) * plan->head_dim) return KVQ_INVALID_ARGUMENT;
  return KVQ_SELECT(isa, encode_values)(*plan, x, tokens, out, static_cast<uint8_t *>(scratch), *encoded);
}
