// How a layer is compressed: owned copies of the fitted arrays, and the tables that attention looks up. Immutable, shared by every cache made from it.
#pragma once
#include <memory>
#include <vector>

#include "kvquant/attention.h"
#include "kvquant/page.h"
#include "kvquant/rope.h"

namespace kvquant {

// Fitted arrays as they lie in an artifact; empty ones are absent.
struct KeyArrays {
  uint32_t kv_heads, head_dim, rotary_dim, bits;
  bool page_scales, outliers;
  std::vector<float> scale, zero, low, high, levels, midpoints, feedback_weights;
  std::vector<uint16_t> feedback_order;
};

struct ValueArrays {
  uint32_t kv_heads, head_dim, rotary_dim, bits;
  bool rotated;
  uint32_t outlier_count;
  std::vector<float> levels, midpoints, mean, deviation;
};

// One side's codec.
class KeyCodec {
 public:
  explicit KeyCodec(KeyArrays arrays);
  const kvq_key_plan &plan() const { return plan_; }
  const kvq_block_layout &layout() const { return layout_; }

 private:
  KeyArrays arrays_;
  kvq_key_plan plan_;
  kvq_block_layout layout_;
};

class ValueCodec {
 public:
  explicit ValueCodec(ValueArrays arrays);
  const kvq_value_plan &plan() const { return plan_; }
  const kvq_block_layout &layout() const { return layout_; }

 private:
  ValueArrays arrays_;
  kvq_value_plan plan_;
  kvq_block_layout layout_;
};

struct RopeDeleter {
  void operator()(kvq_rope *rope) const { kvq_rope_destroy(rope); }
};
using Rope = std::unique_ptr<kvq_rope, RopeDeleter>;

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
