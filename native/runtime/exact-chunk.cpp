#include "runtime/exact-chunk.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "ops/common/half.h"
#include "runtime/aligned-buffer.h"

namespace kvquant {

namespace {

constexpr size_t kHeader = kAlignment;
static_assert(sizeof(ExactChunk) <= kHeader);

}  // namespace

size_t ExactChunk::bytes(const ExactShape &shape) { return kHeader + shape.columns() * KVQ_PAGE_TOKENS * sizeof(uint16_t) * (shape.raw_keys ? 3 : 2); }

ExactChunk *ExactChunk::make(const ExactShape &shape) {
  void *memory = allocate_aligned(bytes(shape));
  std::memset(memory, 0, bytes(shape));
  ExactChunk *chunk = new (memory) ExactChunk;
  const size_t side = shape.columns() * KVQ_PAGE_TOKENS;
  chunk->key_ = reinterpret_cast<uint16_t *>(static_cast<uint8_t *>(memory) + kHeader);
  chunk->value_ = chunk->key_ + side;
  chunk->raw_key_ = shape.raw_keys ? chunk->value_ + side : nullptr;
  return chunk;
}

ExactChunk *ExactChunk::copy(const ExactChunk &other, const ExactShape &shape) {
  ExactChunk *chunk = make(shape);
  std::memcpy(chunk->key_, other.key_, bytes(shape) - kHeader);
  return chunk;
}

void ExactChunk::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(this);
}

void ExactChunk::write(const ExactShape &shape, uint32_t slot, const float *key, const float *rotated, const float *value) {
  kvq_write_exact(shape.kv_heads, shape.head_dim, rotated, value, key_, value_, slot);
  if (raw_key_ == nullptr) return;
  uint16_t *row = raw_key_ + slot * shape.columns();
  for (size_t column = 0; column < shape.columns(); column++) row[column] = half_of_float(key[column]);
}

void ExactChunk::read_keys(const ExactShape &shape, uint32_t tokens, float *keys) const {
  const size_t count = tokens * shape.columns();
  for (size_t index = 0; index < count; index++) keys[index] = float_of_half(raw_key_[index]);
}

void ExactChunk::read_values(const ExactShape &shape, uint32_t tokens, float *values) const {
  const size_t columns = shape.columns();
  for (uint32_t head = 0; head < shape.kv_heads; head++) {
    for (uint32_t channel = 0; channel < shape.head_dim; channel++) {
      const PanelPlace place = panel_place(shape.head_dim, head, channel);
      float *to = values + size_t{head} * shape.head_dim + channel;
      for (uint32_t token = 0; token < tokens; token++) to[token * columns] = float_of_half(value_[place.offset + token * place.step]);
    }
  }
}

PanelPlace panel_place(uint32_t head_dim, uint32_t head, uint32_t channel) {
  const uint32_t panel = channel / 64;
  const uint32_t width = std::min<uint32_t>(64, head_dim - 64 * panel);
  return {(size_t{head} * head_dim + 64 * size_t{panel}) * KVQ_PAGE_TOKENS + channel % 64, width};
}

}  // namespace kvquant
