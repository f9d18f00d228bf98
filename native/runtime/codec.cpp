#include "runtime/codec.h"

#include <string>

#include "runtime/runtime-error.h"

namespace kvquant {

namespace {

void expect_length(const char *name, size_t length, size_t expected) {
  if (length != expected) throw RuntimeError(KVQ_CORRUPT_DATA, std::string(name) + ": expected " + std::to_string(expected) + " numbers, got " + std::to_string(length));
}

void check_sizes(uint32_t kv_heads, uint32_t head_dim, uint32_t rotary_dim, uint32_t bits) {
  if (head_dim % 16 != 0 || head_dim == 0 || head_dim > 256) {
    throw RuntimeError(KVQ_UNSUPPORTED, "native page kernels: expected a head dim that is a multiple of 16 up to 256 (tuned: 64, 80, 96, 128, 256), got " + std::to_string(head_dim));
  }
  if (bits < 2 || bits > 5) throw RuntimeError(KVQ_UNSUPPORTED, "native page kernels: expected 2, 3, 4 or 5 bits, got " + std::to_string(bits));
  if (kv_heads == 0 || kv_heads > (1u << 14)) throw RuntimeError(KVQ_INVALID_ARGUMENT, "kv heads: expected 1 to 16384, got " + std::to_string(kv_heads));
  if (rotary_dim > head_dim || rotary_dim % 2 != 0) throw RuntimeError(KVQ_INVALID_ARGUMENT, "rotary dim: expected an even number up to the head dim, got " + std::to_string(rotary_dim));
}

const float *pointer(const std::vector<float> &array) { return array.empty() ? nullptr : array.data(); }

}  // namespace

KeyCodec::KeyCodec(KeyArrays arrays) : arrays_(std::move(arrays)) {
  const KeyArrays &a = arrays_;
  check_sizes(a.kv_heads, a.head_dim, a.rotary_dim, a.bits);
  const size_t columns = size_t{a.kv_heads} * a.head_dim;
  expect_length("key scale", a.scale.size(), columns);
  expect_length("key zero", a.zero.size(), columns);
  expect_length("key levels", a.levels.size(), size_t{1} << a.bits);
  expect_length("key midpoints", a.midpoints.size(), a.levels.size() - 1);
  expect_length("key thresholds (low)", a.low.size(), a.page_scales ? 0 : columns);
  expect_length("key thresholds (high)", a.high.size(), a.page_scales ? 0 : columns);
  if (!a.feedback_order.empty()) {
    expect_length("feedback order", a.feedback_order.size(), columns);
    expect_length("feedback weights", a.feedback_weights.size(), columns * (a.head_dim - 1) / 2);
    for (uint32_t head = 0; head < a.kv_heads; head++) {
      std::vector<bool> seen(a.head_dim);
      for (uint32_t rank = 0; rank < a.head_dim; rank++) {
        const uint16_t channel = a.feedback_order[size_t{head} * a.head_dim + rank];
        if (channel >= a.head_dim || seen[channel]) throw RuntimeError(KVQ_CORRUPT_DATA, "feedback order: expected a permutation of the channels");
        seen[channel] = true;
      }
    }
  }
  plan_ = {a.kv_heads, a.head_dim, a.rotary_dim, a.bits, a.page_scales, a.outliers, a.scale.data(), a.zero.data(), pointer(a.low), pointer(a.high), a.levels.data(), a.midpoints.data(),
           a.feedback_order.empty() ? nullptr : a.feedback_order.data(), pointer(a.feedback_weights)};
  layout_ = kvq_key_layout(&plan_);
}

ValueCodec::ValueCodec(ValueArrays arrays) : arrays_(std::move(arrays)) {
  const ValueArrays &a = arrays_;
  check_sizes(a.kv_heads, a.head_dim, a.rotary_dim, a.bits);
  const size_t columns = size_t{a.kv_heads} * a.head_dim;
  expect_length("value levels", a.levels.size(), size_t{1} << a.bits);
  expect_length("value midpoints", a.midpoints.size(), a.levels.size() - 1);
  expect_length("value mean", a.mean.size(), a.rotated ? columns : 0);
  expect_length("value deviation", a.deviation.size(), a.rotated ? columns : 0);
  if (a.outlier_count > columns || (a.rotated && a.outlier_count != 0)) throw RuntimeError(KVQ_CORRUPT_DATA, "value outliers: expected at most one a value, none with rotation");
  plan_ = {a.kv_heads, a.head_dim, a.rotary_dim, a.bits, a.rotated, a.outlier_count, a.levels.data(), a.midpoints.data(), pointer(a.mean), pointer(a.deviation)};
  layout_ = kvq_value_layout(&plan_);
}

}  // namespace kvquant
