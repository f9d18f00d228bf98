// Runs native work off the main thread and settles a promise; C++ exceptions become errors with the code of a KvquantError.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "runtime/runtime-error.h"

namespace kvquant::node {

inline const char *code_of(kvq_status status) {
  switch (status) {
    case KVQ_UNSUPPORTED: return "UNSUPPORTED";
    case KVQ_OUT_OF_CAPACITY: return "OUT_OF_CAPACITY";
    case KVQ_CORRUPT_DATA: return "CORRUPT_DATA";
    case KVQ_DISPOSED: return "DISPOSED";
    case KVQ_UNAVAILABLE: return "NATIVE_UNAVAILABLE";
    default: return "INVALID_ARGUMENT";
  }
}

// What went wrong, ready to be thrown in JavaScript.
struct Failure {
  std::string code, message;

  Napi::Error to_error(Napi::Env env) const {
    Napi::Error error = Napi::Error::New(env, message);
    error.Value().Set("code", Napi::String::New(env, code));
    return error;
  }
};

// Runs `work` and catches everything it may throw; an empty code means success.
template <class Work>
Failure catch_failure(const Work &work) {
  try {
    work();
    return {};
  } catch (const RuntimeError &error) {
    return {code_of(error.status()), error.what()};
  } catch (const Cancelled &) {
    return {"CANCELLED", "the run was cancelled"};
  } catch (const std::bad_alloc &) {
    return {"OUT_OF_CAPACITY", "expected enough memory, the system gave none; nothing was changed"};
  } catch (const std::exception &error) {
    return {"INVALID_ARGUMENT", error.what()};
  }
}

// The same on the main thread: throws into JavaScript.
template <class Work>
void call(Napi::Env env, const Work &work) {
  const Failure failure = catch_failure(work);
  if (!failure.code.empty()) throw failure.to_error(env);
}

// Keeps `held` alive until `work` has run on a thread of libuv's pool.
class PromiseWorker : public Napi::AsyncWorker {
 public:
  // Resolves to undefined, or to what `result` makes on the main thread.
  static Napi::Value start(Napi::Env env, const std::vector<Napi::Object> &held, std::function<void()> work, std::function<void()> done = {}, std::function<Napi::Value(Napi::Env)> result = {}) {
    auto *worker = new PromiseWorker(env, std::move(work), std::move(done), std::move(result));
    for (const Napi::Object &object : held) worker->held_.push_back(Napi::Persistent(object));
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 private:
  PromiseWorker(Napi::Env env, std::function<void()> work, std::function<void()> done, std::function<Napi::Value(Napi::Env)> result)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), done_(std::move(done)), result_(std::move(result)) {}

  void Execute() override { failure_ = catch_failure(work_); }
  void OnOK() override {
    if (done_) done_();
    if (failure_.code.empty()) deferred_.Resolve(result_ ? result_(Env()) : Env().Undefined());
    else deferred_.Reject(failure_.to_error(Env()).Value());
  }

  Napi::Promise::Deferred deferred_;
  std::function<void()> work_, done_;
  std::function<Napi::Value(Napi::Env)> result_;
  Failure failure_;
  std::vector<Napi::ObjectReference> held_;
};

}  // namespace kvquant::node
