#include "cuda-node/encoder-object.h"

#include <cstring>

#include "cuda-node/cache-objects.h"
#include "node/arguments.h"
#include "node/codec-options.h"
#include "node/promise-worker.h"

namespace kvquant::cuda {

Napi::Function EncoderObject::define(Napi::Env env) { return DefineClass(env, "Encoder", {InstanceMethod<&EncoderObject::encode>("encode")}); }

EncoderObject::EncoderObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<EncoderObject>(info) {
  const KernelsObject &kernels = unwrap<KernelsObject>(info[0]);
  const auto options = info[1].As<Napi::Object>();
  running_ = kernels.running();
  const Napi::Value key = options.Get("key");
  if (key.IsObject()) {
    KeyArrays arrays = node::read_key_arrays(key.As<Napi::Object>());
    node::call(info.Env(), [&] { encoder_ = std::make_shared<PageEncoder>(kernels.kernels(), std::make_shared<const KeyCodec>(std::move(arrays))); });
  } else {
    ValueArrays arrays = node::read_value_arrays(options.Get("value").As<Napi::Object>());
    node::call(info.Env(), [&] { encoder_ = std::make_shared<PageEncoder>(kernels.kernels(), std::make_shared<const ValueCodec>(std::move(arrays))); });
  }
}

// encode([{ data, tokens }]): resolves to [{ bytes, saturated, clamped }]
Napi::Value EncoderObject::encode(const Napi::CallbackInfo &info) {
  const auto list = info[0].As<Napi::Array>();
  std::vector<PageRows> pages;
  std::vector<Napi::Object> held{info.This().As<Napi::Object>()};
  for (uint32_t index = 0; index < list.Length(); index++) {
    const auto page = list.Get(index).As<Napi::Object>();
    const uint32_t tokens = node::integer(page, "tokens", KVQ_PAGE_TOKENS);
    if (tokens == 0) node::reject(info.Env(), "tokens: expected 1 to 64, got 0");
    pages.push_back({node::floats(page.Get("data"), "data", tokens * encoder_->columns()), tokens});
    held.push_back(page.Get("data").As<Napi::Object>());
  }
  auto encoded = std::make_shared<std::vector<EncodedPage>>();
  running_->fetch_add(1);
  return node::PromiseWorker::start(
      info.Env(), held, [encoder = encoder_, pages = std::move(pages), encoded] { *encoded = encoder->encode(pages); }, [running = running_] { running->fetch_sub(1); },
      [encoded](Napi::Env env) {
        Napi::Array result = Napi::Array::New(env, encoded->size());
        for (uint32_t index = 0; index < encoded->size(); index++) {
          const EncodedPage &page = (*encoded)[index];
          Napi::Uint8Array bytes = Napi::Uint8Array::New(env, page.bytes.size());
          std::memcpy(bytes.Data(), page.bytes.data(), page.bytes.size());
          Napi::Object object = Napi::Object::New(env);
          object.Set("bytes", bytes);
          object.Set("saturated", page.saturated);
          object.Set("clamped", page.clamped);
          result.Set(index, object);
        }
        return result;
      });
}

}  // namespace kvquant::cuda
