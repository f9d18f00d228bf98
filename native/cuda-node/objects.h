// JavaScript classes of the addon: Device, Memory, Stream, Module, Kernel. Lengths and ranges are checked below them; what is left here is who is busy and what V8 should know.
#pragma once
#include <napi.h>

#include <memory>
#include <string>

#include "cuda-node/stream.h"

namespace kvquant::cuda {

// The object behind a JavaScript value of class `Object`; rejects anything else.
template <class Object>
Object &unwrap(const Napi::Value &value) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(Object::constructor(value.Env()).Value())) throw Napi::TypeError::New(value.Env(), std::string("expected a ") + Object::kName);
  return *Object::Unwrap(value.As<Napi::Object>());
}

// Constructors of this environment's classes.
struct Classes {
  Napi::FunctionReference device, memory, stream, module, kernel, kernels, tables, layer, encoder;
};
inline Classes &classes(Napi::Env env) { return *env.GetInstanceData<Classes>(); }

// { registers, localBytes, sharedBytes }
Napi::Object to_object(Napi::Env env, const KernelResources &resources);

class DeviceObject : public Napi::ObjectWrap<DeviceObject> {
 public:
  static constexpr const char *kName = "device";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).device; }
  static Napi::Function define(Napi::Env env);
  // new Device(driverPath, ordinal, memoryLimit); a limit of 0 is none
  explicit DeviceObject(const Napi::CallbackInfo &info);

  const std::shared_ptr<Device> &device() const { return device_; }
  // Counts work on other threads, during which the device is not disposed of.
  std::shared_ptr<std::atomic<int>> running() const { return running_; }

 private:
  Napi::Value info(const Napi::CallbackInfo &info);
  Napi::Value memory(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);

  std::shared_ptr<Device> device_;
  std::shared_ptr<std::atomic<int>> running_ = std::make_shared<std::atomic<int>>(0);
};

class MemoryObject : public Napi::ObjectWrap<MemoryObject> {
 public:
  static constexpr const char *kName = "device memory";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).memory; }
  static Napi::Function define(Napi::Env env);
  // new Memory(device, bytes, shape)
  explicit MemoryObject(const Napi::CallbackInfo &info);
  ~MemoryObject() override;

  // Throws DISPOSED.
  const std::shared_ptr<Memory> &memory() const;

 private:
  Napi::Value address(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);
  void drop();

  std::shared_ptr<Memory> memory_;
  Napi::Env env_;
};

class ModuleObject : public Napi::ObjectWrap<ModuleObject> {
 public:
  static constexpr const char *kName = "module";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).module; }
  static Napi::Function define(Napi::Env env);
  // new Module(device, image, label)
  explicit ModuleObject(const Napi::CallbackInfo &info);

  // Throws DISPOSED.
  Module &module() const;

 private:
  void dispose(const Napi::CallbackInfo &info);
  std::shared_ptr<Module> module_;
};

class KernelObject : public Napi::ObjectWrap<KernelObject> {
 public:
  static constexpr const char *kName = "kernel";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).kernel; }
  static Napi::Function define(Napi::Env env);
  // new Kernel(module, name)
  explicit KernelObject(const Napi::CallbackInfo &info);

  const std::shared_ptr<Kernel> &kernel() const { return kernel_; }

 private:
  Napi::Value resources(const Napi::CallbackInfo &info);
  std::shared_ptr<Kernel> kernel_;
};

class StreamObject : public Napi::ObjectWrap<StreamObject> {
 public:
  static constexpr const char *kName = "stream";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).stream; }
  static Napi::Function define(Napi::Env env);
  // new Stream(device)
  explicit StreamObject(const Napi::CallbackInfo &info);

  // The stream, not used by another thread. Throws DISPOSED, or INVALID_ARGUMENT while it is waited for.
  Stream &idle(Napi::Env env) const;
  // Runs `work` on another thread; the stream is busy until the promise is settled. `held` are values it reads or writes.
  Napi::Value run(const Napi::CallbackInfo &info, std::vector<Napi::Object> held, std::function<void(Stream &)> work, std::function<Napi::Value(Napi::Env)> result = {});

 private:
  void upload(const Napi::CallbackInfo &info);
  Napi::Value download(const Napi::CallbackInfo &info);
  void fill(const Napi::CallbackInfo &info);
  void copy(const Napi::CallbackInfo &info);
  void launch(const Napi::CallbackInfo &info);
  Napi::Value synchronize(const Napi::CallbackInfo &info);
  void start_timer(const Napi::CallbackInfo &info);
  Napi::Value read_timer(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);

  std::shared_ptr<Stream> stream_;
  std::shared_ptr<std::atomic<int>> running_;
  std::shared_ptr<std::atomic<bool>> busy_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Event> started_;
};

}  // namespace kvquant::cuda
