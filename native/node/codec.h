// JavaScript classes KeyCodec and ValueCodec: page blocks of one side.
#pragma once
#include <napi.h>

#include <memory>

#include "runtime/aligned-buffer.h"
#include "runtime/layer-plan.h"

namespace kvquant::node {

class KeyCodecObject : public Napi::ObjectWrap<KeyCodecObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit KeyCodecObject(const Napi::CallbackInfo &info);
  const std::shared_ptr<const KeyCodec> &codec() const { return codec_; }

 private:
  Napi::Value encode(const Napi::CallbackInfo &info);
  void decode(const Napi::CallbackInfo &info);

  kvq_isa isa_;
  std::shared_ptr<const KeyCodec> codec_;
};

class ValueCodecObject : public Napi::ObjectWrap<ValueCodecObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ValueCodecObject(const Napi::CallbackInfo &info);
  const std::shared_ptr<const ValueCodec> &codec() const { return codec_; }

 private:
  Napi::Value encode(const Napi::CallbackInfo &info);
  void decode(const Napi::CallbackInfo &info);

  kvq_isa isa_;
  std::shared_ptr<const ValueCodec> codec_;
};

}  // namespace kvquant::node
