// How a layer is compressed: its codecs, and the tables that attention looks up. Immutable, shared by every cache made from it.
#pragma once
#include <memory>

#include "kvquant/attention.h"
#include "runtime/codec.h"

namespace kvquant {

class LayerPlan {
 public:
  // UNSUPPORTED when no kernel reads such pages.
  LayerPlan(std::shared_ptr<const KeyCodec> key, std::shared_ptr<const ValueCodec> value, std::shared_ptr<const kvq_rope> rope, kvq_isa isa, kvq_precision precision);
  ~LayerPlan() { kvq_attention_tables_destroy(tables_); }
  LayerPlan(const LayerPlan &) = delete;
  LayerPlan &operator=(const LayerPlan &) = delete;

  const KeyCodec &key() const { return *key_; }
  const ValueCodec &value() const { return *value_; }
  const kvq_attention_tables *tables() const { return tables_; }

 private:
  std::shared_ptr<const KeyCodec> key_;
  std::shared_ptr<const ValueCodec> value_;
  std::shared_ptr<const kvq_rope> rope_;
  kvq_attention_tables *tables_ = nullptr;
};

}  // namespace kvquant
