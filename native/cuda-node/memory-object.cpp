#include "cuda-node/objects.h"
#include "node/arguments.h"
#include "node/promise-worker.h"

namespace kvquant::cuda {

Napi::Function MemoryObject::define(Napi::Env env) {
  return DefineClass(env, "Memory", {InstanceMethod<&MemoryObject::address>("address"), InstanceMethod<&MemoryObject::dispose>("dispose")});
}

MemoryObject::MemoryObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<MemoryObject>(info), env_(info.Env()) {
  const auto &device = unwrap<DeviceObject>(info[0]).device();
  const uint64_t bytes = node::integer(info[1], "bytes", uint64_t{1} << 53);
  const std::string shape = info[2].ToString().Utf8Value();
  node::call(env_, [&] { memory_ = Memory::allocate(device, bytes, shape); });
  Napi::MemoryManagement::AdjustExternalMemory(env_, static_cast<int64_t>(bytes));
}

MemoryObject::~MemoryObject() { drop(); }

const std::shared_ptr<Memory> &MemoryObject::memory() const {
  if (memory_ == nullptr) throw node::Failure{"DISPOSED", "expected live device memory, got some already disposed"}.to_error(env_);
  return memory_;
}

Napi::Value MemoryObject::address(const Napi::CallbackInfo &info) { return Napi::BigInt::New(info.Env(), memory()->address()); }

void MemoryObject::dispose(const Napi::CallbackInfo &) { drop(); }

void MemoryObject::drop() {
  if (memory_ == nullptr) return;
  Napi::MemoryManagement::AdjustExternalMemory(env_, -static_cast<int64_t>(memory_->bytes()));
  memory_.reset();
}

}  // namespace kvquant::cuda
