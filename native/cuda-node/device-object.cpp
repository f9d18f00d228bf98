#include "cuda-node/cache-objects.h"
#include "cuda-node/encoder-object.h"
#include "cuda-node/objects.h"
#include "node/arguments.h"
#include "node/promise-worker.h"

namespace kvquant::cuda {

using node::call;
using node::integer;

namespace {

constexpr uint64_t kLargestInteger = uint64_t{1} << 53;

std::shared_ptr<const Driver> driver_at(const Napi::Value &path) {
  if (!path.IsString()) node::reject(path.Env(), "driver: expected a path");
  return open_driver(path.As<Napi::String>().Utf8Value());
}

Napi::Object to_object(Napi::Env env, const DeviceInfo &info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", info.name);
  object.Set("computeCapability", std::to_string(info.compute_major) + "." + std::to_string(info.compute_minor));
  object.Set("totalMemory", static_cast<double>(info.memory_bytes));
  object.Set("multiprocessors", info.multiprocessors);
  object.Set("l2Bytes", info.l2_bytes);
  object.Set("sharedBytesPerMultiprocessor", info.shared_bytes_per_multiprocessor);
  object.Set("sharedBytesPerBlock", info.shared_bytes_per_block);
  object.Set("clockKilohertz", info.clock_khz);
  object.Set("memoryClockKilohertz", info.memory_clock_khz);
  object.Set("memoryBusBits", info.memory_bus_bits);
  return object;
}

// info(driverPath): { driverVersion, devices }
Napi::Value read_info(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  int version = 0;
  std::vector<DeviceInfo> devices;
  call(env, [&] {
    const auto driver = driver_at(info[0]);
    driver->call(driver->driver_version, "the driver", &version);
    devices = list_devices(*driver);
  });
  Napi::Array list = Napi::Array::New(env);
  for (uint32_t index = 0; index < devices.size(); index++) list.Set(index, to_object(env, devices[index]));
  Napi::Object result = Napi::Object::New(env);
  result.Set("driverVersion", version);
  result.Set("devices", list);
  return result;
}

// attribute(driverPath, ordinal, attribute): cuDeviceGetAttribute
Napi::Value read_attribute(const Napi::CallbackInfo &info) {
  int value = 0;
  const int ordinal = static_cast<int>(integer(info[1], "ordinal", 1024));
  const int attribute = static_cast<int>(integer(info[2], "attribute", INT32_MAX));
  call(info.Env(), [&] {
    const auto driver = driver_at(info[0]);
    driver->call(driver->device_attribute, "device " + std::to_string(ordinal) + ", attribute " + std::to_string(attribute), &value, attribute, ordinal);
  });
  return Napi::Number::New(info.Env(), value);
}

// mostTailTokens(headDim): exact tokens behind the pages that kernels have room for. A query sees 63 more than the tail at most, in pieces of 64, and the sinks.
Napi::Value most_tail_tokens(const Napi::CallbackInfo &info) {
  const uint32_t head_dim = integer(info[0], "headDim", 256);
  if (!kvq_cuda_supports_head_dim(head_dim)) node::reject(info.Env(), "headDim: expected 64, 128 or 256");
  return Napi::Number::New(info.Env(), KVQ_PAGE_TOKENS * (kvq_cuda_most_exact_slots(head_dim) - 1) - (KVQ_PAGE_TOKENS - 1));
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto *all = new Classes();
  env.SetInstanceData(all);
  exports.Set("info", Napi::Function::New(env, read_info, "info"));
  // Set by the build: what kernels must have been built with (packages/cuda/scripts/interface-hash.mjs).
#define KVQ_STRING_OF(text) #text
#define KVQ_STRING(macro) KVQ_STRING_OF(macro)
  exports.Set("kernelInterface", Napi::String::New(env, KVQ_STRING(KVQ_CUDA_INTERFACE)));
  exports.Set("mostTailTokens", Napi::Function::New(env, most_tail_tokens, "mostTailTokens"));
  exports.Set("attribute", Napi::Function::New(env, read_attribute, "attribute"));
  const auto add = [&](const char *name, Napi::FunctionReference &reference, const Napi::Function &constructor) {
    reference = Napi::Persistent(constructor);
    exports.Set(name, constructor);
  };
  add("Device", all->device, DeviceObject::define(env));
  add("Memory", all->memory, MemoryObject::define(env));
  add("Module", all->module, ModuleObject::define(env));
  add("Kernel", all->kernel, KernelObject::define(env));
  add("Stream", all->stream, StreamObject::define(env));
  add("Kernels", all->kernels, KernelsObject::define(env));
  add("Tables", all->tables, TablesObject::define(env));
  add("Layer", all->layer, LayerObject::define(env));
  add("Encoder", all->encoder, EncoderObject::define(env));
  return exports;
}

}  // namespace

Napi::Function DeviceObject::define(Napi::Env env) {
  return DefineClass(env, "Device", {InstanceMethod<&DeviceObject::info>("info"), InstanceMethod<&DeviceObject::memory>("memory"), InstanceMethod<&DeviceObject::dispose>("dispose")});
}

DeviceObject::DeviceObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<DeviceObject>(info) {
  const int ordinal = static_cast<int>(integer(info[1], "ordinal", 1024));
  const uint64_t limit = integer(info[2], "memoryLimit", kLargestInteger);
  call(info.Env(), [&] { device_ = Device::open(driver_at(info[0]), ordinal, limit); });
}

Napi::Value DeviceObject::info(const Napi::CallbackInfo &info) { return to_object(info.Env(), device_->info()); }

Napi::Value DeviceObject::memory(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  Device::FreeMemory memory{};
  call(env, [&] { memory = device_->free_memory(); });
  const PoolUse use = device_->pool().use();
  Napi::Object object = Napi::Object::New(env);
  object.Set("limit", use.limit == 0 ? env.Undefined() : Napi::Value(Napi::Number::New(env, static_cast<double>(use.limit))));
  object.Set("reserved", static_cast<double>(use.reserved));
  object.Set("used", static_cast<double>(use.used));
  object.Set("free", static_cast<double>(memory.free));
  object.Set("total", static_cast<double>(memory.total));
  return object;
}

void DeviceObject::dispose(const Napi::CallbackInfo &info) {
  if (running_->load() > 0) node::reject(info.Env(), "dispose: expected no work running on the device; await it first");
  call(info.Env(), [&] { device_->close(); });
}

NODE_API_MODULE(kvquant_cuda, initialise)

}  // namespace kvquant::cuda
