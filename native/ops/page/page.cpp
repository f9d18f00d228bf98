// Sizes of blocks (docs/format.md section 1).
#include "kvquant/page.h"

static_assert(KVQ_PAGE_TOKENS == 64, "packings hold 64 lanes");
static_assert(sizeof(kvq_block_layout) == 7 * sizeof(uint32_t), "seven numbers");

namespace {

uint32_t codes_bytes(uint32_t head_dim, uint32_t bits) { return KVQ_PAGE_TOKENS * head_dim * bits / 8; }

}  // namespace

kvq_block_layout kvq_key_layout(const kvq_key_plan *plan) {
  const uint32_t side_bytes = plan->page_scales ? (2 * plan->head_dim + 63) / 64 * 64 : 0;
  return {plan->kv_heads, plan->head_dim, plan->bits, codes_bytes(plan->head_dim, plan->bits), side_bytes, 0, plan->outliers ? 1u : 0u};
}

kvq_block_layout kvq_value_layout(const kvq_value_plan *plan) {
  const bool outliers = !plan->rotated && plan->outlier_count > 0;
  return {plan->kv_heads, plan->head_dim, plan->bits, codes_bytes(plan->head_dim, plan->bits), 0, plan->rotated ? 1u : 2u, outliers ? 1u : 0u};
}
