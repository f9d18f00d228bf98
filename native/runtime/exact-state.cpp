// The exact state of a layer as raw fp16: what a compressed page does not hold and a sequence needs to go on with the same bits.
#include <algorithm>
#include <cstring>

#include "runtime/layer-cache.h"
#include "runtime/runtime-error.h"

namespace kvquant {

namespace {

// Infinities and NaN have all bits of the exponent set.
void check_finite(const uint16_t *values, size_t count) {
  for (size_t index = 0; index < count; index++) {
    if ((values[index] & 0x7c00u) == 0x7c00u) throw RuntimeError(KVQ_CORRUPT_DATA, "exact state: expected finite numbers");
  }
}

}  // namespace

void LayerCache::export_exact(uint16_t *out) const {
  const size_t sinks = size_t{sink_count_} * rules_->exact.columns();
  out = std::copy_n(sink_keys_.data(), sinks, out);
  out = std::copy_n(sink_values_.data(), sinks, out);
  for (const ExactChunk *chunk : open_) out = std::copy_n(chunk->data(), ExactChunk::values(rules_->exact), out);
}

void LayerCache::import_sinks(const uint16_t *values, uint32_t tokens) {
  const size_t columns = rules_->exact.columns();
  if (pending_length_ != 0 || tokens > rules_->sink_tokens) throw RuntimeError(KVQ_INVALID_ARGUMENT, "import: expected an empty layer with as many sinks");
  check_finite(values, 2 * tokens * columns);
  std::vector<uint16_t> keys(rules_->sink_tokens * columns), sink_values(keys.size());
  std::copy_n(values, tokens * columns, keys.data());
  std::copy_n(values + tokens * columns, tokens * columns, sink_values.data());
  sink_keys_ = std::move(keys);
  sink_values_ = std::move(sink_values);
  sink_count_ = tokens;
  length_ = pending_length_ = tokens;
}

void LayerCache::import_exact(const uint16_t *values, uint64_t tokens) {
  if (tokens == 0) return;
  if (pending_length_ != open_start()) throw RuntimeError(KVQ_INVALID_ARGUMENT, "import: expected complete sinks and closed pages, and no exact tokens");
  const size_t each = ExactChunk::values(rules_->exact);
  const size_t chunks = static_cast<size_t>((tokens + KVQ_PAGE_TOKENS - 1) / KVQ_PAGE_TOKENS);
  check_finite(values, chunks * each);
  try {
    extend(static_cast<size_t>(tokens));
    for (size_t index = 0; index < chunks; index++) std::copy_n(values + index * each, each, open_[index]->data());
    commit();
  } catch (...) {
    rollback();
    throw;
  }
}

}  // namespace kvquant
