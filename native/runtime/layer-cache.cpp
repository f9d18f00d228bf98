#include "runtime/layer-cache.h"

#include <algorithm>

#include "ops/common/half.h"
#include "runtime/runtime-error.h"

namespace kvquant {

void LayerCache::extend(size_t count) {
  const ExactShape &shape = rules_->exact;
  if (pending_length_ < rules_->sink_tokens && sink_keys_.empty()) {
    std::vector<uint16_t> keys(rules_->sink_tokens * shape.columns()), values(keys.size());
    sink_keys_ = std::move(keys);
    sink_values_ = std::move(values);
  }
  const uint64_t begin = open_tokens();
  pending_length_ += count;
  sink_count_ = static_cast<uint32_t>(std::min<uint64_t>(pending_length_, rules_->sink_tokens));
  const uint64_t end = open_tokens();
  if (end == begin) return;
  const size_t first = begin / KVQ_PAGE_TOKENS;
  if (first < open_.size() && open_[first]->shared()) {
    ExactChunk *own = ExactChunk::copy(*open_[first], shape);
    open_[first]->release();
    open_[first] = own;
  }
  const size_t chunks = (end + KVQ_PAGE_TOKENS - 1) / KVQ_PAGE_TOKENS;
  open_.reserve(chunks);
  while (open_.size() < chunks) open_.push_back(ExactChunk::make(shape));
}

void LayerCache::write(uint64_t position, const float *key, const float *rotated, const float *value) {
  const ExactShape &shape = rules_->exact;
  const size_t columns = shape.columns();
  if (position < rules_->sink_tokens) {
    for (size_t column = 0; column < columns; column++) {
      sink_keys_[position * columns + column] = half_of_float(rotated[column]);
      sink_values_[position * columns + column] = half_of_float(value[column]);
    }
    return;
  }
  const uint64_t place = position - open_start();
  open_[place / KVQ_PAGE_TOKENS]->write(shape, place % KVQ_PAGE_TOKENS, key, rotated, value);
}

uint64_t LayerCache::open_start() const {
  if (pages_.empty()) return rules_->sink_tokens;
  const PageReference &last = pages_.back();
  return last.start + last.tokens;
}

size_t LayerCache::visible_pages(uint64_t position) const {
  if (!rules_->compressed()) return 0;
  const uint64_t exact = rules_->tail_tokens + open_start();
  return pages_.size() + (position + 1 <= exact ? 0 : (position + 1 - exact) / KVQ_PAGE_TOKENS);
}

size_t LayerCache::closing_pages() const {
  if (pending_length_ == 0) return 0;
  return visible_pages(pending_length_ - 1) - page_count();
}

void LayerCache::add_page(CachedPage *page) {
  try {
    pending_pages_.reserve(pending_pages_.size() + 1);
  } catch (...) {
    release(page);
    throw;
  }
  const uint64_t start = chunk_start(pending_pages_.size());
  pending_pages_.push_back({page, start, page->encoded_tokens});
}

void LayerCache::commit() {
  prepare_commit();
  for (const PageReference &page : pending_pages_) push_page(page);
  for (size_t index = 0; index < pending_pages_.size(); index++) open_[index]->release();
  open_.erase(open_.begin(), open_.begin() + static_cast<ptrdiff_t>(pending_pages_.size()));
  pending_pages_.clear();
  length_ = pending_length_;
}

void LayerCache::push_page(const PageReference &page) {
  pages_.push_back(page);
  totals_ += PageTotals::of(page);
}

void LayerCache::rollback() {
  for (const PageReference &page : pending_pages_) release(page.page);
  pending_pages_.clear();
  pending_length_ = length_;
  sink_count_ = static_cast<uint32_t>(std::min<uint64_t>(length_, rules_->sink_tokens));
  drop_chunks_beyond(open_tokens());
}

kvq_page_view LayerCache::page_view(size_t index) const {
  const PageReference &reference = page(index);
  const CachedPage &stored = *reference.page;
  const uint32_t *offsets = stored.key_outliers;
  const bool keys = rules_->plan->key().layout().outliers != 0;
  const bool values = rules_->plan->value().layout().outliers != 0;
  return {stored.key, stored.value, keys ? offsets : nullptr, values ? offsets + rules_->exact.kv_heads : nullptr, reference.start, reference.tokens};
}

kvq_exact_view LayerCache::chunk_view(size_t index) const {
  const uint64_t before = index * KVQ_PAGE_TOKENS;
  return open_[index]->view(static_cast<uint32_t>(std::min<uint64_t>(KVQ_PAGE_TOKENS, open_tokens() - before)));
}

void LayerCache::truncate(uint64_t tokens) {
  if (tokens >= length_) return;
  if (tokens < open_start()) {
    while (!pages_.empty() && pages_.back().start >= tokens) {
      totals_ -= PageTotals::of(pages_.back());
      release(pages_.back().page);
      pages_.pop_back();
    }
    if (!pages_.empty() && pages_.back().start + pages_.back().tokens > tokens) {
      totals_ -= PageTotals::of(pages_.back());
      pages_.back().tokens = static_cast<uint32_t>(tokens - pages_.back().start);
      totals_ += PageTotals::of(pages_.back());
    }
    drop_chunks_beyond(0);
  } else {
    drop_chunks_beyond(tokens - open_start());
  }
  length_ = pending_length_ = tokens;
  sink_count_ = static_cast<uint32_t>(std::min<uint64_t>(tokens, rules_->sink_tokens));
}

void LayerCache::add_closed_page(CachedPage *page, uint32_t tokens) {
  if (!rules_->compressed() || length_ != open_start()) throw RuntimeError(KVQ_INVALID_ARGUMENT, "a page can only follow complete sinks and closed pages");
  push_page({page, length_, tokens});
  length_ = pending_length_ = length_ + tokens;
}

void LayerCache::drop_chunks_beyond(uint64_t open_tokens) {
  const size_t chunks = (open_tokens + KVQ_PAGE_TOKENS - 1) / KVQ_PAGE_TOKENS;
  while (open_.size() > chunks) {
    open_.back()->release();
    open_.pop_back();
  }
}

void LayerCache::assign(const LayerCache &other) {
  std::vector<uint16_t> keys = other.sink_keys_, values = other.sink_values_;
  std::vector<PageReference> pages = other.pages_;
  std::vector<ExactChunk *> open = other.open_;
  for (const PageReference &page : pages) retain(page.page);
  for (ExactChunk *chunk : open) chunk->retain();
  clear();
  rules_ = other.rules_;
  length_ = pending_length_ = other.length_;
  sink_count_ = other.sink_count_;
  sink_keys_ = std::move(keys);
  sink_values_ = std::move(values);
  pages_ = std::move(pages);
  totals_ = other.totals_;
  open_ = std::move(open);
}

void LayerCache::clear() {
  for (const PageReference &page : pending_pages_) release(page.page);
  for (const PageReference &page : pages_) release(page.page);
  for (ExactChunk *chunk : open_) chunk->release();
  pending_pages_.clear();
  pages_.clear();
  totals_ = {};
  open_.clear();
  length_ = pending_length_ = 0;
  sink_count_ = 0;
}

// Pages are shared from the first one on: they never move, so caches that hold the same page at an index hold the same pages before it.
PageTotals LayerCache::shared_with(const LayerCache &other) const {
  size_t count = std::min(pages_.size(), other.pages_.size());
  while (count > 0 && pages_[count - 1].page != other.pages_[count - 1].page) count--;
  if (count == other.pages_.size()) return other.totals_;
  PageTotals shared;
  for (size_t index = 0; index < count; index++) shared += PageTotals::of(pages_[index]);
  return shared;
}

LayerBytes LayerCache::bytes(const LayerCache *beyond) const {
  PageTotals own = totals_;
  if (beyond != nullptr) own -= shared_with(*beyond);
  LayerBytes bytes;
  bytes.pages = own.key_bytes + own.value_bytes;
  bytes.page_headers = own.header_bytes;
  bytes.sinks = (sink_keys_.size() + sink_values_.size()) * sizeof(uint16_t);
  for (size_t index = 0; index < open_.size(); index++) bytes.exact += beyond != nullptr && beyond->holds(open_[index], chunk_start(index)) ? 0 : ExactChunk::bytes(rules_->exact);
  return bytes;
}

bool LayerCache::holds(const ExactChunk *chunk, uint64_t start) const {
  if (start < open_start()) return false;
  const uint64_t index = (start - open_start()) / KVQ_PAGE_TOKENS;
  return index < open_.size() && open_[index] == chunk;
}

}  // namespace kvquant
