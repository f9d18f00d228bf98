// A device opened for work: its context, its memory pool, and what lives on it. Usable from any thread; the context is made current for each call.
#pragma once
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cuda-node/driver.h"
#include "cuda-node/memory-pool.h"

namespace kvquant::cuda {

struct DeviceInfo {
  std::string name;
  int compute_major, compute_minor, multiprocessors, l2_bytes, shared_bytes_per_multiprocessor, shared_bytes_per_block, clock_khz, memory_clock_khz, memory_bus_bits;
  uint64_t memory_bytes;
};

// What the driver says of every device, without opening one.
std::vector<DeviceInfo> list_devices(const Driver &driver);

class Device : public std::enable_shared_from_this<Device> {
 public:
  // Retains the primary context of device `ordinal`.
  static std::shared_ptr<Device> open(std::shared_ptr<const Driver> driver, int ordinal, uint64_t memory_limit);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver() const { return *driver_; }
  const DeviceInfo &info() const { return info_; }
  MemoryPool &pool() { return pool_; }

  // Makes the context current for its lifetime. Throws DISPOSED once the device is closed and, unless `quiet`, what a release by the garbage collector could not say.
  class Scope {
   public:
    explicit Scope(Device &device, bool quiet = false);
    ~Scope();
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;

   private:
    Device &device_;
  };

  struct FreeMemory {
    size_t free, total;
  };
  FreeMemory free_memory();

  // Ends all work, releases everything on the device and the context; later calls throw DISPOSED. Does nothing the second time.
  void close();
  bool closed() const { return closed_.load(); }

  // Work in flight, counted by those who submit and wait.
  void begin_work() { in_flight_.fetch_add(1); }
  void end_work() { in_flight_.fetch_sub(1); }
  bool idle() const { return in_flight_.load() == 0; }
  // Ends all work of the context, which is current.
  void synchronize() { driver_->call(driver_->context_synchronize, "device " + std::to_string(ordinal_)); }

  // Runs `release` with the context current, unless the device is closed, which released everything. Never throws: what goes wrong is told by the next Scope.
  template <class Release>
  void release_quietly(const Release &release) noexcept {
    if (closed()) return;
    try {
      const Scope scope(*this, true);
      release();
    } catch (const RuntimeError &error) {
      remember(error);
    }
  }

  // Streams and modules, so that close() finds them.
  void adopt(StreamHandle stream);
  void adopt(ModuleHandle module);
  void destroy(StreamHandle stream);
  void destroy(ModuleHandle module);

 private:
  Device(std::shared_ptr<const Driver> driver, int ordinal, uint64_t memory_limit);
  void remember(const RuntimeError &error) noexcept;
  void throw_remembered();

  std::shared_ptr<const Driver> driver_;
  const int ordinal_;
  DeviceNumber number_ = 0;
  DeviceInfo info_;
  Context context_ = nullptr;
  MemoryPool pool_;
  std::atomic<bool> closed_{false};
  std::atomic<int> in_flight_{0};
  std::mutex mutex_;
  std::set<StreamHandle> streams_;
  std::set<ModuleHandle> modules_;
  std::unique_ptr<RuntimeError> remembered_;
};

// The device was disposed of.
class Disposed : public RuntimeError {
 public:
  Disposed() : RuntimeError(KVQ_DISPOSED, "expected a live CUDA device, got one already disposed; open it again") {}
};

}  // namespace kvquant::cuda
