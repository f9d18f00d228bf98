#include "cuda-node/memory-pool.h"

#include <algorithm>

namespace kvquant::cuda {

namespace {

// The driver maps device memory in steps of this.
constexpr uint64_t kGranularity = uint64_t{2} << 20;
constexpr uint64_t kLargestGrowth = uint64_t{64} << 20;

uint64_t round_up(uint64_t bytes, uint64_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Address MemoryPool::allocate(uint64_t bytes, const std::string &shape, const std::function<void()> &wait) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t size = round_up(std::max<uint64_t>(bytes, 1), kAlignment);
  Address address = 0;
  if (take(size, address)) return address;
  if (!waiting_.empty()) {
    wait();
    collect();
    if (take(size, address)) return address;
  }
  // Slabs grow with the pool, so that what is reserved ahead stays below an eighth; the last ones before the limit are as small as the range itself.
  const uint64_t least = round_up(size, kGranularity);
  const uint64_t left = limit_ == 0 ? UINT64_MAX : limit_ - reserved_;
  const uint64_t wanted = std::max(least, round_up(std::min(reserved_ / 8, kLargestGrowth), kGranularity));
  Result failure = kSuccess;
  for (const uint64_t slab : {wanted, least, size}) {
    if (slab <= left && add_slab(slab, shape, failure) && take(size, address)) return address;
  }
  if (failure != kSuccess) driver_.fail(driver_.memory_allocate.name, shape, failure);
  throw RuntimeError(KVQ_OUT_OF_CAPACITY, shape + ": expected " + std::to_string(size) + " bytes within the pool's limit of " + std::to_string(limit_) + ", got " + std::to_string(reserved_) +
                                              " already reserved; dispose caches, or raise memoryLimit");
}

void MemoryPool::release(Address address, const std::function<bool()> &idle) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waiting_.push_back(address);
  if (idle()) collect();
}

void MemoryPool::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::map<Address, Slab> slabs;
  slabs.swap(slabs_);
  taken_.clear();
  waiting_.clear();
  reserved_ = used_ = 0;
  Result failure = kSuccess;
  for (const auto &[address, slab] : slabs) {
    const Result result = driver_.memory_free.pointer(address);
    if (failure == kSuccess) failure = result;
  }
  if (failure != kSuccess) driver_.fail(driver_.memory_free.name, std::to_string(slabs.size()) + " slabs", failure);
}

PoolUse MemoryPool::use() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {limit_, reserved_, used_};
}

// First fit, lowest slab first, so that the newest slabs empty out.
bool MemoryPool::take(uint64_t bytes, Address &address) {
  for (auto &[start, slab] : slabs_) {
    if (slab.bytes - slab.used < bytes) continue;
    for (auto range = slab.free.begin(); range != slab.free.end(); ++range) {
      const auto [from, size] = *range;
      if (size < bytes) continue;
      taken_.emplace(from, bytes);
      slab.free.erase(range);
      if (size > bytes) slab.free.emplace(from + bytes, size - bytes);
      slab.used += bytes;
      used_ += bytes;
      address = from;
      return true;
    }
  }
  return false;
}

bool MemoryPool::add_slab(uint64_t bytes, const std::string &shape, Result &failure) {
  Address address = 0;
  failure = driver_.memory_allocate.pointer(&address, bytes);
  if (failure == kOutOfMemory) return false;
  if (failure != kSuccess) driver_.fail(driver_.memory_allocate.name, shape, failure);
  Slab &slab = slabs_[address];
  slab.bytes = bytes;
  slab.free.emplace(address, bytes);
  reserved_ += bytes;
  return true;
}

void MemoryPool::give(Address address) {
  const auto range = taken_.find(address);
  if (range == taken_.end()) return;
  Slab &slab = std::prev(slabs_.upper_bound(address))->second;
  uint64_t from = address, size = range->second;
  slab.used -= size;
  used_ -= size;
  taken_.erase(range);
  const auto next = slab.free.lower_bound(from);
  if (next != slab.free.end() && next->first == from + size) {
    size += next->second;
    slab.free.erase(next);
  }
  const auto after = slab.free.lower_bound(from);
  if (after != slab.free.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == from) {
      from = before->first;
      size += before->second;
      slab.free.erase(before);
    }
  }
  slab.free.emplace(from, size);
}

void MemoryPool::collect() {
  for (const Address address : waiting_) give(address);
  waiting_.clear();
  Result failure = kSuccess;
  for (auto slab = slabs_.begin(); slab != slabs_.end();) {
    if (slab->second.used > 0) {
      ++slab;
      continue;
    }
    const Result result = driver_.memory_free.pointer(slab->first);
    if (failure == kSuccess) failure = result;
    reserved_ -= slab->second.bytes;
    slab = slabs_.erase(slab);
  }
  if (failure != kSuccess) driver_.fail(driver_.memory_free.name, "a slab without ranges", failure);
}

}  // namespace kvquant::cuda
