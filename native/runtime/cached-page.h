// Closed pages: encoded once, immutable, shared by forks. Many pages lie in one slab, so that a page costs 64 bytes beyond its blocks.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>

#include "kvquant/page.h"

namespace kvquant {

// A run of pages allocated together; freed with its last page.
struct PageSlab {
  std::atomic<uint32_t> references;
  size_t capacity, used;
};

// Header of a page; its outlier offsets, key block and value block follow.
struct alignas(64) CachedPage {
  std::atomic<uint32_t> references;
  uint32_t encoded_tokens;
  uint32_t key_bytes, value_bytes;
  uint32_t saturated[2], clamped[2]; // keys, values
  PageSlab *slab;
  const uint8_t *key, *value;
  const uint32_t *key_outliers; // [kv_heads], NULL without; the value's follow
};
static_assert(sizeof(CachedPage) == 64);

void retain(CachedPage *page);
void release(CachedPage *page);

// One of the pages of a layer, in position order.
struct PageReference {
  CachedPage *page;
  uint64_t start;
  uint32_t tokens; // valid ones: fewer than encoded after a truncation
};

// An encoded block to be stored.
struct EncodedBlockView {
  std::span<const uint8_t> bytes;
  const uint32_t *outlier_offsets; // [kv_heads], NULL without
  uint32_t saturated, clamped;
};

// Allocates pages for a cache and its forks.
class PageAllocator {
 public:
  explicit PageAllocator(uint32_t kv_heads) : kv_heads_(kv_heads) {}
  ~PageAllocator();
  PageAllocator(const PageAllocator &) = delete;
  PageAllocator &operator=(const PageAllocator &) = delete;

  // A page with one reference that holds copies of both blocks. Throws bad_alloc and changes nothing.
  CachedPage *make(uint32_t tokens, const EncodedBlockView &key, const EncodedBlockView &value);
  // Bytes a page takes.
  size_t page_bytes(const EncodedBlockView &key, const EncodedBlockView &value) const;
  // Allocated but not yet used. Another fork may be taking from it.
  size_t spare_bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return slab_ == nullptr ? 0 : slab_->capacity - slab_->used;
  }

 private:
  void *take(size_t bytes);

  uint32_t kv_heads_;
  mutable std::mutex mutex_;
  size_t made_ = 0;
  PageSlab *slab_ = nullptr;
};

}  // namespace kvquant
