// Arrays of one batch behind each other, so that one copy brings them all to the device.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kvquant/page.h"

namespace kvquant::cuda {

inline uint64_t round_to_block(uint64_t bytes) { return (bytes + KVQ_BLOCK_ALIGNMENT - 1) / KVQ_BLOCK_ALIGNMENT * KVQ_BLOCK_ALIGNMENT; }

class Packed {
 public:
  // Room for `count` elements; returns its offset. Filled through at(), which later additions invalidate.
  template <class Element>
  uint64_t add(size_t count) {
    const uint64_t offset = round_to_block(bytes_.size());
    bytes_.resize(offset + count * sizeof(Element));
    return offset;
  }
  template <class Element>
  Element *at(uint64_t offset) {
    return reinterpret_cast<Element *>(bytes_.data() + offset);
  }
  size_t size() const { return bytes_.size(); }
  // All of it; nothing is left.
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace kvquant::cuda
