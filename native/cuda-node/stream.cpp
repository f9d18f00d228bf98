#include "cuda-node/stream.h"

namespace kvquant::cuda {

namespace {

std::string range_text(uint64_t offset, uint64_t bytes) { return std::to_string(bytes) + " bytes at offset " + std::to_string(offset); }

void check_range(const Memory &memory, uint64_t offset, uint64_t bytes) {
  if (offset <= memory.bytes() && bytes <= memory.bytes() - offset) return;
  throw RuntimeError(KVQ_INVALID_ARGUMENT, "device memory: expected a range within its " + std::to_string(memory.bytes()) + " bytes, got " + range_text(offset, bytes));
}

std::string launch_text(const Kernel &kernel, const LaunchShape &shape) {
  const auto triple = [](const std::array<uint32_t, 3> &each) { return std::to_string(each[0]) + " x " + std::to_string(each[1]) + " x " + std::to_string(each[2]); };
  return kernel.name() + ", grid " + triple(shape.grid) + ", block " + triple(shape.block) + ", " + std::to_string(shape.shared_bytes) + " bytes of shared memory";
}

}  // namespace

std::shared_ptr<Stream> Stream::create(const std::shared_ptr<Device> &device) {
  const Device::Scope scope(*device);
  StreamHandle handle = nullptr;
  device->driver().call(device->driver().stream_create, "a stream", &handle, kStreamNonBlocking);
  device->adopt(handle);
  return std::shared_ptr<Stream>(new Stream(device, handle));
}

Stream::~Stream() {
  device_->release_quietly([&] {
    if (pending_) device_->driver().call(device_->driver().stream_synchronize, "a stream to be released", handle_);
    device_->destroy(handle_);
  });
  if (pending_) device_->end_work();
}

void Stream::submit(const std::shared_ptr<Memory> &memory) {
  if (!pending_) device_->begin_work();
  pending_ = true;
  if (memory != nullptr) kept_.push_back(memory);
}

void Stream::upload(const std::shared_ptr<Memory> &memory, uint64_t offset, std::vector<uint8_t> from) {
  check_range(*memory, offset, from.size());
  if (from.empty()) return;
  const Device::Scope scope(*device_);
  submit(memory);
  const std::vector<uint8_t> &kept = sent_.emplace_back(std::move(from));
  device_->driver().call(device_->driver().copy_to_device, range_text(offset, kept.size()), memory->address() + offset, static_cast<const void *>(kept.data()), kept.size(), handle_);
}

void Stream::upload(const std::shared_ptr<Memory> &memory, uint64_t offset, const void *from, uint64_t bytes) {
  check_range(*memory, offset, bytes);
  const auto *first = static_cast<const uint8_t *>(from);
  upload(memory, offset, std::vector<uint8_t>(first, first + bytes));
}

void Stream::download(const std::shared_ptr<Memory> &memory, uint64_t offset, void *to, uint64_t bytes) {
  check_range(*memory, offset, bytes);
  if (bytes == 0) return;
  const Device::Scope scope(*device_);
  submit(memory);
  device_->driver().call(device_->driver().copy_to_host, range_text(offset, bytes), to, memory->address() + offset, static_cast<size_t>(bytes), handle_);
}

void Stream::fill(const std::shared_ptr<Memory> &memory, uint64_t offset, uint8_t value, uint64_t bytes) {
  check_range(*memory, offset, bytes);
  if (bytes == 0) return;
  const Device::Scope scope(*device_);
  submit(memory);
  device_->driver().call(device_->driver().fill, range_text(offset, bytes), memory->address() + offset, static_cast<unsigned char>(value), static_cast<size_t>(bytes), handle_);
}

void Stream::copy(const std::shared_ptr<Memory> &to, uint64_t to_offset, const std::shared_ptr<Memory> &from, uint64_t from_offset, uint64_t bytes) {
  check_range(*to, to_offset, bytes);
  check_range(*from, from_offset, bytes);
  if (bytes == 0) return;
  const Device::Scope scope(*device_);
  submit(to);
  submit(from);
  device_->driver().call(device_->driver().copy_on_device, range_text(to_offset, bytes), to->address() + to_offset, from->address() + from_offset, static_cast<size_t>(bytes), handle_);
}

void Stream::launch(const Kernel &kernel, const LaunchShape &shape, const void *parameters, size_t bytes, const std::vector<std::shared_ptr<Memory>> &keep) {
  const Device::Scope scope(*device_);
  const Driver &driver = device_->driver();
  // Beyond 48 KiB a kernel has to be allowed its dynamic shared memory first.
  constexpr uint32_t kSharedWithoutAsking = 48u << 10;
  if (shape.shared_bytes > kSharedWithoutAsking) driver.call(driver.function_set, launch_text(kernel, shape), kernel.handle(), kFunctionMaxDynamicShared, static_cast<int>(shape.shared_bytes));
  submit(nullptr);
  kept_.insert(kept_.end(), keep.begin(), keep.end());
  void *extra[] = {kParameterBuffer, const_cast<void *>(parameters), kParameterSize, &bytes, nullptr};
  driver.call(driver.launch, launch_text(kernel, shape), kernel.handle(), shape.grid[0], shape.grid[1], shape.grid[2], shape.block[0], shape.block[1], shape.block[2], shape.shared_bytes, handle_,
              static_cast<void **>(nullptr), extra);
}

void Stream::synchronize() {
  const Device::Scope scope(*device_);
  device_->driver().call(device_->driver().stream_synchronize, "a stream", handle_);
  if (pending_) device_->end_work();
  pending_ = false;
  kept_.clear();
  sent_.clear();
}

std::shared_ptr<Event> Stream::mark() {
  const Device::Scope scope(*device_);
  const Driver &driver = device_->driver();
  EventHandle handle = nullptr;
  driver.call(driver.event_create, "an event", &handle, 0u);
  auto event = std::make_shared<Event>(device_, handle);
  submit(nullptr);
  driver.call(driver.event_record, "an event", handle, handle_);
  return event;
}

float Event::milliseconds_since(const Event &earlier) const {
  const Device::Scope scope(*device_);
  float milliseconds = 0;
  device_->driver().call(device_->driver().event_elapsed, "two events", &milliseconds, earlier.handle(), handle_);
  return milliseconds;
}

}  // namespace kvquant::cuda
