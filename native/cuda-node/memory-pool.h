// Device memory of one context, handed out in ranges from slabs, with a limit. Ranges that are given back while work is in flight wait until that work has ended.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cuda-node/driver.h"

namespace kvquant::cuda {

struct PoolUse {
  uint64_t limit;     // most bytes the pool takes from the device; 0: no limit of its own
  uint64_t reserved;  // taken from the device
  uint64_t used;      // handed out
};

class MemoryPool {
 public:
  static constexpr uint64_t kAlignment = 256;

  MemoryPool(const Driver &driver, uint64_t limit) : driver_(driver), limit_(limit) {}
  MemoryPool(const MemoryPool &) = delete;
  MemoryPool &operator=(const MemoryPool &) = delete;

  // At least `bytes` bytes at a multiple of 256. The context is current. `wait` ends all work in flight. OUT_OF_CAPACITY with `shape` beyond the limit or the device's memory; nothing changes then.
  Address allocate(uint64_t bytes, const std::string &shape, const std::function<void()> &wait);
  // Gives a range back. The context is current. `idle` says whether no work is in flight, so that what was released can be used again at once, and a slab without ranges goes back to the device;
  // it is asked under the pool's lock: an answer from before would not cover what another thread has released meanwhile, with work that uses it in flight.
  void release(Address address, const std::function<bool()> &idle);
  // Gives everything back to the device; ranges still handed out are void.
  void clear();
  PoolUse use() const;

 private:
  struct Slab {
    uint64_t bytes;
    uint64_t used = 0;
    std::map<Address, uint64_t> free;  // start and size of the ranges not handed out, never adjacent
  };

  bool take(uint64_t bytes, Address &address);
  bool add_slab(uint64_t bytes, const std::string &shape, Result &failure);
  void give(Address address);
  void collect();

  const Driver &driver_;
  const uint64_t limit_;
  mutable std::mutex mutex_;
  uint64_t reserved_ = 0, used_ = 0;
  std::map<Address, Slab> slabs_;
  std::map<Address, uint64_t> taken_;
  std::vector<Address> waiting_;
};

}  // namespace kvquant::cuda
