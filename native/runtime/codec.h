// The codec of one side of a layer: owned copies of its fitted arrays, checked. Immutable.
#pragma once
#include <memory>
#include <vector>

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

}  // namespace kvquant
