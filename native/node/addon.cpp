// The addon of @kvquant/cpu: unpacks arguments, calls the runtime, turns failures into errors with a code.
#include <napi.h>

#include "kvquant/isa.h"
#include "node/cache.h"
#include "node/codec.h"
#include "node/model.h"
#include "node/threads.h"

namespace {

// isas(): names of the instruction sets with kernels, by number; null for one this CPU lacks
Napi::Value isas(const Napi::CallbackInfo &info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (uint32_t isa = 0; isa < KVQ_ISA_COUNT; isa++) {
    const auto each = static_cast<kvq_isa>(isa);
    names.Set(isa, kvq_isa_available(each) ? Napi::Value(Napi::String::New(info.Env(), kvq_isa_name(each))) : info.Env().Null());
  }
  return names;
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace kvquant::node;
  exports.Set("isas", Napi::Function::New(env, isas, "isas"));
  exports.Set("KeyCodec", KeyCodecObject::define(env));
  exports.Set("ValueCodec", ValueCodecObject::define(env));
  exports.Set("Threads", ThreadsObject::define(env));
  exports.Set("Cache", CacheObject::define(env));
  exports.Set("Model", ModelObject::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(kvquant_cpu, initialise)
