#include "runtime/layer-plan.h"

#include "runtime/runtime-error.h"

namespace kvquant {

LayerPlan::LayerPlan(std::shared_ptr<const KeyCodec> key, std::shared_ptr<const ValueCodec> value, std::shared_ptr<const kvq_rope> rope, kvq_isa isa, kvq_precision precision)
    : key_(std::move(key)), value_(std::move(value)), rope_(std::move(rope)) {
  if (key_->plan().kv_heads != value_->plan().kv_heads || key_->plan().head_dim != value_->plan().head_dim || key_->plan().head_dim != rope_->head_dim || key_->plan().rotary_dim != rope_->rotary_dim) {
    throw RuntimeError(KVQ_INVALID_ARGUMENT, "layer plan: expected keys, values and rope of the same shape");
  }
  require(kvq_attention_tables_create(isa, precision, &key_->plan(), &value_->plan(), rope_.get(), &tables_), "layer plan: no attention kernel for it");
}

}  // namespace kvquant
