#include "runtime/cached-page.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace kvquant {

namespace {

constexpr size_t kLargeSlab = size_t{2} << 20;

size_t round_up(size_t bytes) { return (bytes + KVQ_BLOCK_ALIGNMENT - 1) / KVQ_BLOCK_ALIGNMENT * KVQ_BLOCK_ALIGNMENT; }

constexpr size_t kSlabHeader = KVQ_BLOCK_ALIGNMENT;
static_assert(sizeof(PageSlab) <= kSlabHeader);

void release_slab(PageSlab *slab) {
  if (slab->references.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(slab);
}

}  // namespace

void retain(CachedPage *page) { page->references.fetch_add(1, std::memory_order_relaxed); }

void release(CachedPage *page) {
  if (page->references.fetch_sub(1, std::memory_order_acq_rel) == 1) release_slab(page->slab);
}

PageAllocator::~PageAllocator() {
  if (slab_ != nullptr) release_slab(slab_);
}

size_t PageAllocator::page_bytes(const EncodedBlockView &key, const EncodedBlockView &value) const {
  const size_t offsets = (key.outlier_offsets != nullptr || value.outlier_offsets != nullptr) ? round_up(size_t{2} * kv_heads_ * sizeof(uint32_t)) : 0;
  return sizeof(CachedPage) + offsets + round_up(key.bytes.size()) + round_up(value.bytes.size());
}

void *PageAllocator::take(size_t bytes) {
  if (slab_ == nullptr || slab_->capacity - slab_->used < bytes) {
    // Slabs grow with the cache, so that what is allocated ahead stays below about 6%.
    const size_t most = std::max<size_t>(1, kLargeSlab / bytes);
    const size_t pages = std::clamp<size_t>(made_ / 16, 1, most);
    const size_t size = kSlabHeader + pages * bytes + KVQ_BLOCK_PADDING;
    const bool large = size >= kLargeSlab / 2;
    void *memory = std::aligned_alloc(large ? 4096 : KVQ_BLOCK_ALIGNMENT, (size + 4095) / 4096 * 4096);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (large) madvise(memory, size, MADV_HUGEPAGE);
#endif
    // Fresh pages of the system are zero; recycled ones are not, and vector loads may run over the last block.
    std::memset(static_cast<uint8_t *>(memory) + size - KVQ_BLOCK_PADDING, 0, KVQ_BLOCK_PADDING);
    PageSlab *slab = new (memory) PageSlab{{1}, kSlabHeader + pages * bytes, kSlabHeader};
    if (slab_ != nullptr) release_slab(slab_);
    slab_ = slab;
  }
  void *place = reinterpret_cast<uint8_t *>(slab_) + slab_->used;
  slab_->used += bytes;
  slab_->references.fetch_add(1, std::memory_order_relaxed);
  return place;
}

CachedPage *PageAllocator::make(uint32_t tokens, const EncodedBlockView &key, const EncodedBlockView &value) {
  const size_t bytes = page_bytes(key, value);
  const std::lock_guard<std::mutex> lock(mutex_);
  uint8_t *place = static_cast<uint8_t *>(take(bytes));
  made_++;
  uint8_t *next = place + sizeof(CachedPage);
  uint32_t *offsets = nullptr;
  if (key.outlier_offsets != nullptr || value.outlier_offsets != nullptr) {
    offsets = reinterpret_cast<uint32_t *>(next);
    if (key.outlier_offsets != nullptr) std::copy_n(key.outlier_offsets, kv_heads_, offsets);
    if (value.outlier_offsets != nullptr) std::copy_n(value.outlier_offsets, kv_heads_, offsets + kv_heads_);
    next += round_up(size_t{2} * kv_heads_ * sizeof(uint32_t));
  }
  auto copy = [&next](std::span<const uint8_t> block) {
    uint8_t *start = next;
    std::memcpy(start, block.data(), block.size());
    next += round_up(block.size());
    std::memset(start + block.size(), 0, next - start - block.size());
    return start;
  };
  const uint8_t *key_block = copy(key.bytes);
  const uint8_t *value_block = copy(value.bytes);
  return new (place) CachedPage{{1},
                                tokens,
                                static_cast<uint32_t>(key.bytes.size()),
                                static_cast<uint32_t>(value.bytes.size()),
                                {key.saturated, value.saturated},
                                {key.clamped, value.clamped},
                                slab_,
                                key_block,
                                value_block,
                                offsets};
}

}  // namespace kvquant
