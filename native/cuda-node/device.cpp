#include "cuda-node/device.h"

#include <array>

namespace kvquant::cuda {

namespace {

DeviceInfo describe(const Driver &driver, DeviceNumber device, const std::string &shape) {
  std::array<char, 256> name{};
  driver.call(driver.device_name, shape, name.data(), static_cast<int>(name.size() - 1), device);
  size_t memory = 0;
  driver.call(driver.device_memory, shape, &memory, device);
  const auto attribute = [&](int which) {
    int value = 0;
    driver.call(driver.device_attribute, shape + ", attribute " + std::to_string(which), &value, which, device);
    return value;
  };
  return {.name = name.data(),
          .compute_major = attribute(kComputeCapabilityMajor),
          .compute_minor = attribute(kComputeCapabilityMinor),
          .multiprocessors = attribute(kMultiprocessors),
          .l2_bytes = attribute(kL2CacheBytes),
          .shared_bytes_per_multiprocessor = attribute(kSharedBytesPerMultiprocessor),
          .shared_bytes_per_block = attribute(kSharedBytesPerBlock),
          .clock_khz = attribute(kClockRate),
          .memory_clock_khz = attribute(kMemoryClockRate),
          .memory_bus_bits = attribute(kMemoryBusWidth),
          .memory_bytes = memory};
}

DeviceNumber find(const Driver &driver, int ordinal) {
  int count = 0;
  driver.call(driver.device_count, "all devices", &count);
  if (ordinal >= count) throw RuntimeError(KVQ_INVALID_ARGUMENT, "device: expected one of the " + std::to_string(count) + " devices, counted from 0, got " + std::to_string(ordinal));
  DeviceNumber device = 0;
  driver.call(driver.device_get, "device " + std::to_string(ordinal), &device, ordinal);
  return device;
}

}  // namespace

std::vector<DeviceInfo> list_devices(const Driver &driver) {
  int count = 0;
  driver.call(driver.device_count, "all devices", &count);
  std::vector<DeviceInfo> devices;
  for (int ordinal = 0; ordinal < count; ordinal++) devices.push_back(describe(driver, find(driver, ordinal), "device " + std::to_string(ordinal)));
  return devices;
}

Device::Device(std::shared_ptr<const Driver> driver, int ordinal, uint64_t memory_limit) : driver_(std::move(driver)), ordinal_(ordinal), pool_(*driver_, memory_limit) {}

std::shared_ptr<Device> Device::open(std::shared_ptr<const Driver> driver, int ordinal, uint64_t memory_limit) {
  std::shared_ptr<Device> device(new Device(std::move(driver), ordinal, memory_limit));
  const std::string shape = "device " + std::to_string(ordinal);
  device->number_ = find(*device->driver_, ordinal);
  device->info_ = describe(*device->driver_, device->number_, shape);
  device->driver_->call(device->driver_->context_retain, shape, &device->context_, device->number_);
  return device;
}

Device::~Device() {
  try {
    close();
  } catch (const RuntimeError &) {
    // Nobody is left to be told: the last reference went with the last thing that lived on the device.
    return;
  }
}

Device::Scope::Scope(Device &device, bool quiet) : device_(device) {
  if (device.closed()) throw Disposed();
  if (!quiet) device.throw_remembered();
  device.driver_->call(device.driver_->context_push, "device " + std::to_string(device.ordinal_), device.context_);
}

Device::Scope::~Scope() {
  Context popped = nullptr;
  const Result result = device_.driver_->context_pop.pointer(&popped);
  if (result != kSuccess) device_.remember(RuntimeError(KVQ_UNAVAILABLE, std::string(device_.driver_->context_pop.name) + ", device " + std::to_string(device_.ordinal_) + ": expected CUDA_SUCCESS, got " + device_.driver_->describe(result)));
}

Device::FreeMemory Device::free_memory() {
  const Scope scope(*this);
  FreeMemory memory{};
  driver_->call(driver_->memory_info, "device " + std::to_string(ordinal_), &memory.free, &memory.total);
  return memory;
}

void Device::close() {
  if (context_ == nullptr || closed_.exchange(true)) return;
  // Every step is tried, whatever the others say; the first failure is told.
  Result failure = driver_->context_push.pointer(context_);
  const char *call = driver_->context_push.name;
  const auto step = [&](const char *name, Result result) {
    if (failure == kSuccess && result != kSuccess) {
      failure = result;
      call = name;
    }
  };
  const bool current = failure == kSuccess;
  std::unique_ptr<RuntimeError> of_pool;
  if (current) {
    step(driver_->context_synchronize.name, driver_->context_synchronize.pointer());
    for (const StreamHandle stream : streams_) step(driver_->stream_destroy.name, driver_->stream_destroy.pointer(stream));
    for (const ModuleHandle module : modules_) step(driver_->module_unload.name, driver_->module_unload.pointer(module));
    try {
      pool_.clear();
    } catch (const RuntimeError &error) {
      of_pool = std::make_unique<RuntimeError>(error);
    }
    Context popped = nullptr;
    step(driver_->context_pop.name, driver_->context_pop.pointer(&popped));
  }
  streams_.clear();
  modules_.clear();
  step(driver_->context_release.name, driver_->context_release.pointer(number_));
  if (failure != kSuccess) driver_->fail(call, "closing device " + std::to_string(ordinal_), failure);
  if (of_pool != nullptr) throw RuntimeError(*of_pool);
}

void Device::adopt(StreamHandle stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  streams_.insert(stream);
}

void Device::adopt(ModuleHandle module) {
  const std::lock_guard<std::mutex> lock(mutex_);
  modules_.insert(module);
}

void Device::destroy(StreamHandle stream) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (streams_.erase(stream) > 0) driver_->call(driver_->stream_destroy, "a stream", stream);
}

void Device::destroy(ModuleHandle module) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (modules_.erase(module) > 0) driver_->call(driver_->module_unload, "a module", module);
}

void Device::remember(const RuntimeError &error) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    if (remembered_ == nullptr) remembered_ = std::make_unique<RuntimeError>(error.status(), std::string("an earlier release failed: ") + error.what());
  } catch (const std::bad_alloc &) {
    return;  // without memory for its text the failure stays untold; the call it concerns had no result to lose
  }
}

void Device::throw_remembered() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (remembered_ == nullptr) return;
  const std::unique_ptr<RuntimeError> error = std::move(remembered_);
  throw RuntimeError(*error);
}

}  // namespace kvquant::cuda
