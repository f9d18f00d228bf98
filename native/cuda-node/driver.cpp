#include "cuda-node/driver.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

namespace kvquant::cuda {

namespace {

// Results that mean "this machine has no usable GPU" whatever was asked: 35 and 100 are what programs see without a driver or a device.
bool means_no_gpu(Result result) {
  constexpr Result kStubLibrary = 34, kInsufficientDriver = 35, kNoDevice = 100, kInvalidDevice = 101, kSystemDriverMismatch = 803, kSystemNotReady = 802;
  return result == kStubLibrary || result == kInsufficientDriver || result == kNoDevice || result == kInvalidDevice || result == kSystemDriverMismatch || result == kSystemNotReady;
}

// Results that every later call of this process gets too: a kernel went wrong, or memory did. 714 to 719 are errors of kernels.
bool loses_device(Result result) {
  constexpr Result kUncorrectable = 214, kNvlink = 220, kIllegalAddress = 700, kTimeout = 702, kAssert = 710, kHardwareStack = 714, kLaunchFailed = 719;
  return result == kUncorrectable || result == kNvlink || result == kIllegalAddress || result == kTimeout || result == kAssert || (result >= kHardwareStack && result <= kLaunchFailed);
}

kvq_status status_of(Result result) {
  switch (result) {
    case kOutOfMemory: return KVQ_OUT_OF_CAPACITY;
    case kInvalidValue: return KVQ_INVALID_ARGUMENT;
    case kInvalidImage:
    case kNoBinaryForGpu:
    case kInvalidPtx:
    case kUnsupportedPtxVersion:
    case kNotFound:
    case kLaunchOutOfResources:
    case kNotSupported: return KVQ_UNSUPPORTED;
    default: return KVQ_UNAVAILABLE;
  }
}

std::string text_of(const DriverFunction<Result(Result, const char **)> &function, Result result, const char *otherwise) {
  const char *text = nullptr;
  if (function.pointer == nullptr || function.pointer(result, &text) != kSuccess || text == nullptr) return otherwise;
  return text;
}

template <class Signature>
void resolve(void *library, const std::string &path, DriverFunction<Signature> &function) {
  void *symbol = dlsym(library, function.name);
  if (symbol == nullptr) throw RuntimeError(KVQ_UNAVAILABLE, path + ": expected a CUDA driver with " + function.name + ", got one without; update the NVIDIA driver");
  function.pointer = reinterpret_cast<Signature *>(symbol);
}

std::shared_ptr<const Driver> load(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *reason = dlerror();
    throw RuntimeError(KVQ_UNAVAILABLE, "expected a CUDA driver, got none (" + std::string(reason == nullptr ? path : reason) + "); install the NVIDIA driver on a machine with a GPU, or use the cpu backend");
  }
  auto driver = std::make_shared<Driver>();
  const auto all = [&](auto &...functions) { (resolve(library, path, functions), ...); };
  Driver &d = *driver;
  all(d.init, d.driver_version, d.error_name, d.error_string, d.device_count, d.device_get, d.device_name, d.device_memory, d.device_attribute, d.context_retain, d.context_release,
      d.context_push, d.context_pop, d.context_synchronize, d.memory_info, d.memory_allocate, d.memory_free, d.copy_to_device, d.copy_to_host, d.copy_on_device, d.fill, d.stream_create,
      d.stream_destroy, d.stream_synchronize, d.event_create, d.event_destroy, d.event_record, d.event_elapsed, d.module_load, d.module_unload, d.module_function, d.function_attribute,
      d.function_set, d.launch);
  d.call(d.init, "flags 0", 0u);
  return driver;
}

}  // namespace

std::string Driver::describe(Result result) const {
  return text_of(error_name, result, "unknown error") + " (" + std::to_string(result) + "): " + text_of(error_string, result, "no description");
}

void Driver::fail(const char *call, const std::string &shape, Result result) const {
  const std::string what = std::string(call) + ", " + shape + ": expected CUDA_SUCCESS, got " + describe(result);
  if (means_no_gpu(result)) throw RuntimeError(KVQ_UNAVAILABLE, what + "; this machine has no usable GPU, use the cpu backend");
  if (loses_device(result)) throw RuntimeError(KVQ_UNAVAILABLE, what + "; the GPU is lost to this process, which has to be started again (caches are intact on the host: save them first)");
  throw RuntimeError(status_of(result), what);
}

std::shared_ptr<const Driver> open_driver(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const Driver>> opened;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Driver> &driver = opened[path];
  if (driver == nullptr) driver = load(path);
  return driver;
}

}  // namespace kvquant::cuda
