// JavaScript class Cache: the native cache of one sequence.
#pragma once
#include <napi.h>

#include <atomic>
#include <memory>

#include "node/threads.h"
#include "runtime/sequence-cache.h"

namespace kvquant::node {

// Shared by the JavaScript object and the work that is running on it.
struct SharedCache {
  std::unique_ptr<SequenceCache> cache;
  std::shared_ptr<const CacheRules> rules;
  // Set on the main thread while native work uses the cache.
  bool busy = false;
};

class CacheObject : public Napi::ObjectWrap<CacheObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Cache({ isa, exact, queryHeads, kvHeads, headDim, rotaryDim, attentionFactor, frequencies, layers: ({ key, value } | null)[], sinkTokens, tailTokens }); new Cache({ forkOf }) shares
  // all pages of another cache, new Cache({ likeOf }) is empty and shares its tables
  explicit CacheObject(const Napi::CallbackInfo &info);

  // The cache, marked busy until release(). Throws into JavaScript when it is busy or disposed.
  std::shared_ptr<SharedCache> acquire(Napi::Env env);

 private:
  SequenceCache &idle(Napi::Env env);
  Napi::Value length(const Napi::CallbackInfo &info);
  Napi::Value busy(const Napi::CallbackInfo &info);
  Napi::Value layer_length(const Napi::CallbackInfo &info);
  Napi::Value pages_end(const Napi::CallbackInfo &info);
  void append(const Napi::CallbackInfo &info);
  Napi::Value attend(const Napi::CallbackInfo &info);
  Napi::Value time_attention(const Napi::CallbackInfo &info);
  void truncate(const Napi::CallbackInfo &info);
  void truncate_layer(const Napi::CallbackInfo &info);
  void restore(const Napi::CallbackInfo &info);
  void dispose(const Napi::CallbackInfo &info);
  Napi::Value bytes(const Napi::CallbackInfo &info);
  Napi::Value pages(const Napi::CallbackInfo &info);
  Napi::Value page_totals(const Napi::CallbackInfo &info);
  void add_page(const Napi::CallbackInfo &info);
  Napi::Value export_exact(const Napi::CallbackInfo &info);
  void import_exact(const Napi::CallbackInfo &info);
  Napi::Value paths(const Napi::CallbackInfo &info);

  std::shared_ptr<SharedCache> shared_;
};

}  // namespace kvquant::node
