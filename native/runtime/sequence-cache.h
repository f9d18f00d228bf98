// The cache of one sequence: a LayerCache for each layer, kept in step.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/layer-cache.h"

namespace kvquant {

// Everything fixed about a cache; shared by its forks.
struct CacheRules {
  uint32_t query_heads, kv_heads, head_dim;
  kvq_isa isa;
  std::shared_ptr<const kvq_rope> rope;
  std::vector<LayerRules> layers;

  uint32_t group() const { return query_heads / kv_heads; }
};

class SequenceCache {
 public:
  explicit SequenceCache(std::shared_ptr<const CacheRules> rules)
      : rules_(std::move(rules)), pages_(std::make_shared<PageAllocator>(rules_->kv_heads)) {
    for (const LayerRules &layer : rules_->layers) layers_.push_back(std::make_unique<LayerCache>(layer));
  }

  const CacheRules &rules() const { return *rules_; }
  PageAllocator &allocator() { return *pages_; }
  size_t layers() const { return layers_.size(); }
  LayerCache &layer(size_t index) { return *layers_[index]; }
  const LayerCache &layer(size_t index) const { return *layers_[index]; }
  // Tokens that every layer holds.
  uint64_t length() const {
    uint64_t least = UINT64_MAX;
    for (const auto &layer : layers_) least = std::min(least, layer->length());
    return least;
  }
  // Shares all pages and chunks.
  std::unique_ptr<SequenceCache> fork() const {
    auto copy = std::make_unique<SequenceCache>(rules_);
    copy->pages_ = pages_;
    for (size_t index = 0; index < layers_.size(); index++) copy->layers_[index]->assign(*layers_[index]);
    return copy;
  }
  // Takes back the state of `saved`, a fork of this cache.
  void restore(const SequenceCache &saved) {
    for (size_t index = 0; index < layers_.size(); index++) layers_[index]->assign(*saved.layers_[index]);
  }
  void clear() {
    for (const auto &layer : layers_) layer->clear();
  }
  void rollback() {
    for (const auto &layer : layers_) layer->rollback();
  }
  // All layers or, on bad_alloc, none.
  void commit() {
    for (const auto &layer : layers_) layer->prepare_commit();
    for (const auto &layer : layers_) layer->commit();
  }

 private:
  std::shared_ptr<const CacheRules> rules_;
  std::shared_ptr<PageAllocator> pages_;
  std::vector<std::unique_ptr<LayerCache>> layers_;
};

}  // namespace kvquant
