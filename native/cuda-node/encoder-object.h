// JavaScript class Encoder: encodes pages of one layer and side on the device.
#pragma once
#include "cuda-node/objects.h"
#include "cuda-node/page-encoder.h"

namespace kvquant::cuda {

class EncoderObject : public Napi::ObjectWrap<EncoderObject> {
 public:
  static constexpr const char *kName = "encoder";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).encoder; }
  static Napi::Function define(Napi::Env env);
  // new Encoder(kernels, { key }) or new Encoder(kernels, { value })
  explicit EncoderObject(const Napi::CallbackInfo &info);

 private:
  Napi::Value encode(const Napi::CallbackInfo &info);
  std::shared_ptr<PageEncoder> encoder_;
  std::shared_ptr<std::atomic<int>> running_;
};

}  // namespace kvquant::cuda
