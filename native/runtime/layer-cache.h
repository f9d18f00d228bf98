// Keys and values of one layer of one sequence: sinks, closed pages, exact rest. What a step adds is pending until it is committed, so that a failed step changes nothing.
// The position rule (which query sees which page compressed) is that of packages/cache/src/visible-pages.ts.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "runtime/cached-page.h"
#include "runtime/exact-chunk.h"
#include "runtime/layer-plan.h"
#include "runtime/page-totals.h"

namespace kvquant {

// Everything fixed about a layer; shared by all forks.
struct LayerRules {
  std::shared_ptr<const LayerPlan> plan; // null: an fp16 layer
  uint32_t sink_tokens;                  // 0 for an fp16 layer
  uint64_t tail_tokens;                  // newest tokens a query sees exactly
  ExactShape exact;

  bool compressed() const { return plan != nullptr; }
};

struct LayerBytes {
  uint64_t pages = 0, page_headers = 0, sinks = 0, exact = 0;
};

class LayerCache {
 public:
  explicit LayerCache(const LayerRules &rules) : rules_(&rules) {}
  ~LayerCache() { clear(); }
  LayerCache(const LayerCache &) = delete;
  LayerCache &operator=(const LayerCache &) = delete;

  // Committed tokens.
  uint64_t length() const { return length_; }
  // Committed and pending tokens.
  uint64_t pending_length() const { return pending_length_; }
  const LayerRules &rules() const { return *rules_; }

  // Makes room for `count` pending tokens from position pending_length() on. On bad_alloc a rollback brings everything back.
  void extend(size_t count);
  // Writes the pending token at `position`: key before RoPE, rotated key, value [columns], all finite in fp16. Different tokens may be written on different threads.
  void write(uint64_t position, const float *key, const float *rotated, const float *value);
  // Pages that the newest pending token sees compressed and that are still exact.
  size_t closing_pages() const;
  // The chunk that holds the tokens of closing page `index`.
  const ExactChunk &closing_chunk(size_t index) const { return *open_[pending_pages_.size() + index]; }
  // Adds the next closing page; takes over the reference.
  void add_page(CachedPage *page);
  // Makes room for the commit of what is pending, which then cannot fail. bad_alloc.
  void prepare_commit() { pages_.reserve(pages_.size() + pending_pages_.size()); }
  void commit();
  void rollback();

  // Closed pages, then pending ones.
  size_t page_count() const { return pages_.size() + pending_pages_.size(); }
  const PageReference &page(size_t index) const { return index < pages_.size() ? pages_[index] : pending_pages_[index - pages_.size()]; }
  size_t closed_pages() const { return pages_.size(); }
  // Of the closed pages.
  const PageTotals &page_totals() const { return totals_; }
  kvq_page_view page_view(size_t index) const;
  // Pages that the query at `position` sees compressed.
  size_t visible_pages(uint64_t position) const;

  // Chunks of exact tokens from open_start() on, those of pending pages included.
  size_t chunk_count() const { return open_.size(); }
  // Position of the first token of chunk `index`.
  uint64_t chunk_start(size_t index) const { return open_start() + index * KVQ_PAGE_TOKENS; }
  kvq_exact_view chunk_view(size_t index) const;
  uint64_t open_start() const;

  // Sinks, in fp16 [tokens][columns], keys rotated.
  uint32_t sinks() const { return sink_count_; }
  const uint16_t *sink_keys() const { return sink_keys_.data(); }
  const uint16_t *sink_values() const { return sink_values_.data(); }

  // Forgets all tokens from `tokens` on (committed state only).
  void truncate(uint64_t tokens);
  // Adds a page of `tokens` valid tokens that was encoded elsewhere right after what is held; takes over the reference. INVALID_ARGUMENT unless sinks are complete and no exact token is held.
  void add_closed_page(CachedPage *page, uint32_t tokens);
  // Becomes a copy of `other` that shares pages and chunks.
  void assign(const LayerCache &other);
  void clear();
  // Of all blocks or, with `beyond`, of those that cache does not share. Sinks are never shared.
  LayerBytes bytes(const LayerCache *beyond = nullptr) const;

  // ---- exact state as raw fp16, for a cache that goes on elsewhere bit for bit (committed state only) ----
  // Tokens after the closed pages.
  uint64_t exact_tokens() const { return length_ <= open_start() ? 0 : length_ - open_start(); }
  // Numbers of export_exact: sink keys and values, then whole chunks.
  size_t exact_values() const { return 2 * size_t{sink_count_} * rules_->exact.columns() + open_.size() * ExactChunk::values(rules_->exact); }
  void export_exact(uint16_t *out) const;
  // Sinks of an empty layer: keys (rotated), then values, [tokens][columns] each. INVALID_ARGUMENT, CORRUPT_DATA for numbers that are not finite.
  void import_sinks(const uint16_t *values, uint32_t tokens);
  // Chunks of the tokens after complete sinks and closed pages. INVALID_ARGUMENT, CORRUPT_DATA; bad_alloc.
  void import_exact(const uint16_t *values, uint64_t tokens);

 private:
  uint64_t open_tokens() const { return pending_length_ <= open_start() ? 0 : pending_length_ - open_start(); }
  void drop_chunks_beyond(uint64_t open_tokens);
  void push_page(const PageReference &page);
  PageTotals shared_with(const LayerCache &other) const;
  bool holds(const ExactChunk *chunk, uint64_t start) const;

  const LayerRules *rules_;
  uint64_t length_ = 0;
  uint64_t pending_length_ = 0;
  uint32_t sink_count_ = 0;
  std::vector<uint16_t> sink_keys_, sink_values_;
  std::vector<PageReference> pages_;
  PageTotals totals_; // of pages_
  std::vector<PageReference> pending_pages_;
  std::vector<ExactChunk *> open_;
};

}  // namespace kvquant
