// Up to 64 consecutive exact tokens over all KV heads, in the layout attention reads (kvq_exact_view). Layers that will encode them keep the keys before RoPE too.
#pragma once
#include <atomic>
#include <cstdint>

#include "kvquant/attention.h"

namespace kvquant {

// Magnitudes from here on round to an infinite fp16 number.
constexpr float kHalfLimit = 65520.0f;

struct ExactShape {
  uint32_t kv_heads, head_dim;
  bool raw_keys; // keep keys before RoPE
  size_t columns() const { return size_t{kv_heads} * head_dim; }
};

class ExactChunk {
 public:
  // Empty, all zero, one reference; bad_alloc.
  static ExactChunk *make(const ExactShape &shape);
  // A copy with one reference.
  static ExactChunk *copy(const ExactChunk &other, const ExactShape &shape);
  static size_t bytes(const ExactShape &shape);
  // Numbers of a chunk: rotated keys and values as attention reads them, then keys before RoPE where they are kept.
  static size_t values(const ExactShape &shape) { return shape.columns() * KVQ_PAGE_TOKENS * (shape.raw_keys ? 3 : 2); }

  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release();
  bool shared() const { return references_.load(std::memory_order_acquire) > 1; }

  uint16_t *data() { return key_; }
  const uint16_t *data() const { return key_; }
  kvq_exact_view view(uint32_t tokens) const { return {key_, value_, tokens}; }
  // Writes one token: key before RoPE, the same key rotated, value [columns] each.
  void write(const ExactShape &shape, uint32_t slot, const float *key, const float *rotated, const float *value);
  // Keys before RoPE, or values, of the first `tokens` tokens as fp32 [tokens, columns].
  void read_keys(const ExactShape &shape, uint32_t tokens, float *keys) const;
  void read_values(const ExactShape &shape, uint32_t tokens, float *values) const;

 private:
  std::atomic<uint32_t> references_{1};
  uint16_t *key_ = nullptr;
  uint16_t *value_ = nullptr;
  uint16_t *raw_key_ = nullptr; // [64][columns]
};

// Moves values between rows [columns] and panels (see kvq_exact_view): offset of channel `channel` of token 0 of a head, and the step from token to token.
struct PanelPlace {
  size_t offset, step;
};
PanelPlace panel_place(uint32_t head_dim, uint32_t head, uint32_t channel);

}  // namespace kvquant
