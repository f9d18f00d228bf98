// Memory aligned for vector loads.
#pragma once
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace kvquant {

constexpr size_t kAlignment = 64;

// Uninitialised bytes at a multiple of 64; bad_alloc when there are none.
inline void *allocate_aligned(size_t bytes) {
  void *memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// A growing array of T; growing forgets the contents.
template <class T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t count) { reserve(count); }
  AlignedBuffer(const AlignedBuffer &) = delete;
  AlignedBuffer &operator=(const AlignedBuffer &) = delete;
  AlignedBuffer(AlignedBuffer &&other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  AlignedBuffer &operator=(AlignedBuffer &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~AlignedBuffer() { std::free(data_); }

  // At least `count` elements. On failure the buffer is as it was.
  T *reserve(size_t count) {
    if (count > count_) {
      T *bigger = static_cast<T *>(allocate_aligned(count * sizeof(T)));
      std::free(data_);
      data_ = bigger;
      count_ = count;
    }
    return data_;
  }
  T *data() const { return data_; }
  size_t bytes() const { return count_ * sizeof(T); }

 private:
  T *data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace kvquant
