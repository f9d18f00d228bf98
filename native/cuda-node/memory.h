// A range of device memory; given back to the pool with its last owner.
#pragma once
#include <memory>
#include <string>

#include "cuda-node/device.h"

namespace kvquant::cuda {

class Memory {
 public:
  // OUT_OF_CAPACITY with `shape`, what the memory is for.
  static std::shared_ptr<Memory> allocate(const std::shared_ptr<Device> &device, uint64_t bytes, const std::string &shape) {
    const Device::Scope scope(*device);
    // The object first: a range without an owner would never come back.
    auto memory = std::shared_ptr<Memory>(new Memory(device, bytes));
    memory->address_ = device->pool().allocate(bytes, shape, [&] { device->synchronize(); });
    return memory;
  }
  ~Memory() {
    if (address_ != 0) device_->release_quietly([&] { device_->pool().release(address_, [&] { return device_->idle(); }); });
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  Device &device() const { return *device_; }
  const std::shared_ptr<Device> &shared_device() const { return device_; }
  Address address() const { return address_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Memory(std::shared_ptr<Device> device, uint64_t bytes) : device_(std::move(device)), bytes_(bytes) {}

  std::shared_ptr<Device> device_;
  Address address_ = 0;
  uint64_t bytes_;
};

// An address on the device, as kernels take it.
template <class Number>
Number *device_pointer(const Memory &memory, uint64_t offset = 0) {
  return reinterpret_cast<Number *>(memory.address() + offset);
}

}  // namespace kvquant::cuda
