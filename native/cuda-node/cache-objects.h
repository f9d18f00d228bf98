// JavaScript classes of caches on the device: Kernels, Tables, Layer.
#pragma once
#include "cuda-node/layer-mirror.h"
#include "cuda-node/objects.h"

namespace kvquant::cuda {

class KernelsObject : public Napi::ObjectWrap<KernelsObject> {
 public:
  static constexpr const char *kName = "kernel set";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).kernels; }
  static Napi::Function define(Napi::Env env);
  // new Kernels(device, { family: image })
  explicit KernelsObject(const Napi::CallbackInfo &info);

  const std::shared_ptr<KernelSet> &kernels() const { return kernels_; }
  const std::shared_ptr<std::atomic<int>> &running() const { return running_; }

 private:
  Napi::Value resources(const Napi::CallbackInfo &info);
  Napi::Value work_bytes(const Napi::CallbackInfo &info);
  std::shared_ptr<KernelSet> kernels_;
  std::shared_ptr<std::atomic<int>> running_;
};

class TablesObject : public Napi::ObjectWrap<TablesObject> {
 public:
  static constexpr const char *kName = "cache tables";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).tables; }
  static Napi::Function define(Napi::Env env);
  // new Tables(kernels, { queryHeads, kvHeads, headDim, sinkTokens, rotaryDim, attentionFactor, frequencies, layers: ({ key, value } | null)[] })
  explicit TablesObject(const Napi::CallbackInfo &info);

  const std::shared_ptr<CacheTables> &tables() const { return tables_; }
  const std::shared_ptr<std::atomic<int>> &running() const { return running_; }

 private:
  Napi::Value bytes(const Napi::CallbackInfo &info);
  Napi::Value attend(const Napi::CallbackInfo &info);
  std::shared_ptr<CacheTables> tables_;
  std::shared_ptr<std::atomic<int>> running_;
};

class LayerObject : public Napi::ObjectWrap<LayerObject> {
 public:
  static constexpr const char *kName = "layer";
  static Napi::FunctionReference &constructor(Napi::Env env) { return classes(env).layer; }
  static Napi::Function define(Napi::Env env);
  // new Layer(tables, layer), or new Layer(other) for a fork
  explicit LayerObject(const Napi::CallbackInfo &info);
  ~LayerObject() override;

  // Throws DISPOSED, or INVALID_ARGUMENT while work is running.
  LayerMirror &mirror() const;
  // The same for work on another thread until end(), on the main thread: nobody else uses it meanwhile. The object must be held.
  const std::shared_ptr<LayerMirror> &begin();
  void end();

 private:
  Napi::Value pages(const Napi::CallbackInfo &info);
  void keep_pages(const Napi::CallbackInfo &info);
  void forget(const Napi::CallbackInfo &info);
  Napi::Value missing(const Napi::CallbackInfo &info);
  Napi::Value download_page(const Napi::CallbackInfo &info);
  Napi::Value bytes(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);
  // Tells V8 what the mirror holds now.
  void account();

  std::shared_ptr<LayerMirror> mirror_;
  std::shared_ptr<std::atomic<int>> running_;
  bool busy_ = false;
  int64_t accounted_ = 0;
  Napi::Env env_;
};

}  // namespace kvquant::cuda
