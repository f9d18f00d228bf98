// JavaScript class Threads: a thread pool with the working memory of attention outside a model's step.
#pragma once
#include <napi.h>

#include <memory>
#include <mutex>

#include "runtime/attend-layer.h"
#include "runtime/close-pages.h"
#include "runtime/thread-pool.h"

namespace kvquant::node {

// One call at a time uses it.
struct SharedThreads {
  explicit SharedThreads(unsigned threads) : pool(std::make_shared<ThreadPool>(threads)), closer(*pool), attention(*pool) {}
  std::mutex mutex;
  std::shared_ptr<ThreadPool> pool;
  PageCloser closer;
  LayerAttention attention;
};

class ThreadsObject : public Napi::ObjectWrap<ThreadsObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Threads(count)
  explicit ThreadsObject(const Napi::CallbackInfo &info);
  const std::shared_ptr<SharedThreads> &shared() const { return shared_; }

 private:
  // attendTile({ isa, q, k, v, group, queries, keys, headDim, scale, out }): the attention kernel of @kvquant/spec over fp32 rows
  Napi::Value attend_tile(const Napi::CallbackInfo &info);
  // readBandwidth(bytes, out Float64Array [1]): gigabytes a second of reading so much memory on all threads
  Napi::Value read_bandwidth(const Napi::CallbackInfo &info);

  std::shared_ptr<SharedThreads> shared_;
};

}  // namespace kvquant::node
