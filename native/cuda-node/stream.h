// Work in order on a device: copies, fills, launches. One thread at a time submits to a stream or waits for it.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "cuda-node/memory.h"
#include "cuda-node/module.h"

namespace kvquant::cuda {

struct LaunchShape {
  std::array<uint32_t, 3> grid, block;
  uint32_t shared_bytes;
};

class Stream {
 public:
  static std::shared_ptr<Stream> create(const std::shared_ptr<Device> &device);
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  Device &device() const { return *device_; }
  const std::shared_ptr<Device> &shared_device() const { return device_; }

  // Ranges are offset .. offset + bytes of `memory`; INVALID_ARGUMENT when they do not lie in it. `memory` is kept until the stream has been waited for.
  // The stream keeps what it uploads until it has been waited for: copies from pageable memory "might" have left it when the driver returns, which is not a promise, and devices that read
  // pageable memory by themselves need not wait. `to` of a download is written when the stream has been waited for.
  void upload(const std::shared_ptr<Memory> &memory, uint64_t offset, std::vector<uint8_t> from);
  // A copy of what `from` holds now.
  void upload(const std::shared_ptr<Memory> &memory, uint64_t offset, const void *from, uint64_t bytes);
  void download(const std::shared_ptr<Memory> &memory, uint64_t offset, void *to, uint64_t bytes);
  void fill(const std::shared_ptr<Memory> &memory, uint64_t offset, uint8_t value, uint64_t bytes);
  void copy(const std::shared_ptr<Memory> &to, uint64_t to_offset, const std::shared_ptr<Memory> &from, uint64_t from_offset, uint64_t bytes);
  // `parameters`: the kernel's parameters as it reads them, packed. Memory the kernel uses is named by `keep`.
  void launch(const Kernel &kernel, const LaunchShape &shape, const void *parameters, size_t bytes, const std::vector<std::shared_ptr<Memory>> &keep);
  // Waits for all work; what it used is let go.
  void synchronize();

  // A mark in the stream, for elapsed().
  std::shared_ptr<class Event> mark();

 private:
  Stream(std::shared_ptr<Device> device, StreamHandle handle) : device_(std::move(device)), handle_(handle) {}
  void submit(const std::shared_ptr<Memory> &memory);

  std::shared_ptr<Device> device_;
  StreamHandle handle_;
  bool pending_ = false;
  std::vector<std::shared_ptr<Memory>> kept_;
  std::vector<std::vector<uint8_t>> sent_; // what uploads read
};

// A point in a stream's work.
class Event {
 public:
  Event(std::shared_ptr<Device> device, EventHandle handle) : device_(std::move(device)), handle_(handle) {}
  ~Event() {
    device_->release_quietly([&] { device_->driver().call(device_->driver().event_destroy, "an event", handle_); });
  }
  Event(const Event &) = delete;
  Event &operator=(const Event &) = delete;
  EventHandle handle() const { return handle_; }
  Device &device() const { return *device_; }
  // Milliseconds from `earlier` to this one; the stream has been waited for.
  float milliseconds_since(const Event &earlier) const;

 private:
  std::shared_ptr<Device> device_;
  EventHandle handle_;
};

}  // namespace kvquant::cuda
