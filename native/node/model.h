// JavaScript class Model: packed weights and whole steps.
#pragma once
#include <napi.h>

#include <memory>
#include <mutex>

#include "node/threads.h"
#include "runtime/step.h"

namespace kvquant::node {

struct SharedModel {
  std::shared_ptr<Model> model;
  std::unique_ptr<Step> step; // set by ready()
  bool busy = false;          // main thread
};

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Model({ isa, layers, width, queryHeads, kvHeads, headDim, feedForward, vocabulary, normEpsilon, attentionBias, queryKeyNorm, rotaryDim, attentionFactor, frequencies })
  explicit ModelObject(const Napi::CallbackInfo &info);

 private:
  std::shared_ptr<SharedModel> acquire(Napi::Env env);
  Model &unfinished(Napi::Env env);
  Matrix &matrix(const Napi::Value &layer, const Napi::Value &part);
  void create_matrix(const Napi::CallbackInfo &info);
  void fill_matrix(const Napi::CallbackInfo &info);
  void set_vector(const Napi::CallbackInfo &info);
  void ready(const Napi::CallbackInfo &info);
  Napi::Value step(const Napi::CallbackInfo &info);
  Napi::Value begin(const Napi::CallbackInfo &info);
  Napi::Value project(const Napi::CallbackInfo &info);
  Napi::Value finish_layer(const Napi::CallbackInfo &info);
  Napi::Value hidden(const Napi::CallbackInfo &info);
  Napi::Value logits(const Napi::CallbackInfo &info);
  void cancel(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);
  Napi::Value info_object(const Napi::CallbackInfo &info);

  std::shared_ptr<SharedModel> shared_;
};

}  // namespace kvquant::node
