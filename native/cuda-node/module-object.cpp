#include "cuda-node/objects.h"
#include "node/arguments.h"
#include "node/promise-worker.h"

namespace kvquant::cuda {

Napi::Function ModuleObject::define(Napi::Env env) { return DefineClass(env, "Module", {InstanceMethod<&ModuleObject::dispose>("dispose")}); }

ModuleObject::ModuleObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ModuleObject>(info) {
  const auto &device = unwrap<DeviceObject>(info[0]).device();
  const node::Bytes image = node::byte_view(info[1], "image");
  const std::string label = info[2].ToString().Utf8Value();
  node::call(info.Env(), [&] { module_ = Module::load(device, image.data, image.length, label); });
}

Module &ModuleObject::module() const {
  if (module_ == nullptr) throw node::Failure{"DISPOSED", "expected a live module, got one already disposed"}.to_error(Env());
  return *module_;
}

void ModuleObject::dispose(const Napi::CallbackInfo &) { module_.reset(); }

Napi::Function KernelObject::define(Napi::Env env) { return DefineClass(env, "Kernel", {InstanceMethod<&KernelObject::resources>("resources")}); }

KernelObject::KernelObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<KernelObject>(info) {
  Module &module = unwrap<ModuleObject>(info[0]).module();
  const std::string name = info[1].ToString().Utf8Value();
  node::call(info.Env(), [&] { kernel_ = module.kernel(name); });
}

Napi::Value KernelObject::resources(const Napi::CallbackInfo &info) {
  KernelResources resources{};
  node::call(info.Env(), [&] { resources = kernel_->resources(); });
  return to_object(info.Env(), resources);
}

Napi::Object to_object(Napi::Env env, const KernelResources &resources) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("registers", resources.registers);
  object.Set("localBytes", resources.local_bytes);
  object.Set("sharedBytes", resources.shared_bytes);
  return object;
}

}  // namespace kvquant::cuda
