#include "cuda-node/objects.h"
#include "node/arguments.h"
#include "node/promise-worker.h"

namespace kvquant::cuda {

using node::byte_view;
using node::call;
using node::integer;

namespace {

constexpr uint64_t kLargestInteger = uint64_t{1} << 53;

std::array<uint32_t, 3> triple(const Napi::Value &value, const char *name) {
  const auto list = node::copy_integers(value, name);
  if (list.size() != 3) node::reject(value.Env(), std::string(name) + ": expected three integers");
  return {list[0], list[1], list[2]};
}

}  // namespace

Napi::Function StreamObject::define(Napi::Env env) {
  return DefineClass(env, "Stream",
                     {InstanceMethod<&StreamObject::upload>("upload"), InstanceMethod<&StreamObject::download>("download"), InstanceMethod<&StreamObject::fill>("fill"), InstanceMethod<&StreamObject::copy>("copy"),
                      InstanceMethod<&StreamObject::launch>("launch"), InstanceMethod<&StreamObject::synchronize>("synchronize"), InstanceMethod<&StreamObject::start_timer>("startTimer"),
                      InstanceMethod<&StreamObject::read_timer>("readTimer"), InstanceMethod<&StreamObject::dispose>("dispose")});
}

StreamObject::StreamObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<StreamObject>(info) {
  DeviceObject &device = unwrap<DeviceObject>(info[0]);
  running_ = device.running();
  call(info.Env(), [&] { stream_ = Stream::create(device.device()); });
}

Stream &StreamObject::idle(Napi::Env env) const {
  if (stream_ == nullptr) throw node::Failure{"DISPOSED", "expected a live stream, got one already disposed"}.to_error(env);
  if (busy_->load()) node::reject(env, "stream: expected one that nobody waits for; await it first, or use another");
  return *stream_;
}

Napi::Value StreamObject::run(const Napi::CallbackInfo &info, std::vector<Napi::Object> held, std::function<void(Stream &)> work, std::function<Napi::Value(Napi::Env)> result) {
  idle(info.Env());
  busy_->store(true);
  running_->fetch_add(1);
  held.push_back(info.This().As<Napi::Object>());
  return node::PromiseWorker::start(
      info.Env(), held, [stream = stream_, work = std::move(work)] { work(*stream); },
      [busy = busy_, running = running_] {
        busy->store(false);
        running->fetch_sub(1);
      },
      std::move(result));
}

// upload(memory, offset, bytes)
void StreamObject::upload(const Napi::CallbackInfo &info) {
  const auto memory = unwrap<MemoryObject>(info[0]).memory();
  const uint64_t offset = integer(info[1], "offset", kLargestInteger);
  const node::Bytes bytes = byte_view(info[2], "bytes");
  Stream &stream = idle(info.Env());
  call(info.Env(), [&] { stream.upload(memory, offset, bytes.data, bytes.length); });
}

// download(memory, offset, bytes): resolves when they are written
Napi::Value StreamObject::download(const Napi::CallbackInfo &info) {
  const auto memory = unwrap<MemoryObject>(info[0]).memory();
  const uint64_t offset = integer(info[1], "offset", kLargestInteger);
  const node::Bytes bytes = byte_view(info[2], "bytes");
  return run(info, {info[2].As<Napi::Object>()}, [=](Stream &stream) {
    stream.download(memory, offset, const_cast<uint8_t *>(bytes.data), bytes.length);
    stream.synchronize();
  });
}

// fill(memory, offset, value, bytes)
void StreamObject::fill(const Napi::CallbackInfo &info) {
  const auto memory = unwrap<MemoryObject>(info[0]).memory();
  const uint64_t offset = integer(info[1], "offset", kLargestInteger);
  const auto value = static_cast<uint8_t>(integer(info[2], "value", 255));
  const uint64_t bytes = integer(info[3], "bytes", kLargestInteger);
  Stream &stream = idle(info.Env());
  call(info.Env(), [&] { stream.fill(memory, offset, value, bytes); });
}

// copy(to, toOffset, from, fromOffset, bytes)
void StreamObject::copy(const Napi::CallbackInfo &info) {
  const auto to = unwrap<MemoryObject>(info[0]).memory();
  const uint64_t to_offset = integer(info[1], "toOffset", kLargestInteger);
  const auto from = unwrap<MemoryObject>(info[2]).memory();
  const uint64_t from_offset = integer(info[3], "fromOffset", kLargestInteger);
  const uint64_t bytes = integer(info[4], "bytes", kLargestInteger);
  Stream &stream = idle(info.Env());
  call(info.Env(), [&] { stream.copy(to, to_offset, from, from_offset, bytes); });
}

// launch(kernel, grid, block, sharedBytes, parameters, memories)
void StreamObject::launch(const Napi::CallbackInfo &info) {
  const auto kernel = unwrap<KernelObject>(info[0]).kernel();
  const LaunchShape shape{triple(info[1], "grid"), triple(info[2], "block"), static_cast<uint32_t>(integer(info[3], "sharedBytes", 1u << 20))};
  const node::Bytes parameters = byte_view(info[4], "parameters");
  std::vector<std::shared_ptr<Memory>> keep;
  const auto memories = info[5].As<Napi::Array>();
  for (uint32_t index = 0; index < memories.Length(); index++) keep.push_back(unwrap<MemoryObject>(memories.Get(index)).memory());
  Stream &stream = idle(info.Env());
  call(info.Env(), [&] { stream.launch(*kernel, shape, parameters.data, parameters.length, keep); });
}

Napi::Value StreamObject::synchronize(const Napi::CallbackInfo &info) {
  return run(info, {}, [](Stream &stream) { stream.synchronize(); });
}

void StreamObject::start_timer(const Napi::CallbackInfo &info) {
  Stream &stream = idle(info.Env());
  call(info.Env(), [&] { started_ = stream.mark(); });
}

// readTimer(): resolves to the milliseconds since startTimer, once all work has ended
Napi::Value StreamObject::read_timer(const Napi::CallbackInfo &info) {
  idle(info.Env());
  if (started_ == nullptr) node::reject(info.Env(), "readTimer: expected a timer that was started");
  auto milliseconds = std::make_shared<float>(0.0f);
  return run(
      info, {},
      [started = std::move(started_), milliseconds](Stream &stream) {
        const auto ended = stream.mark();
        stream.synchronize();
        *milliseconds = ended->milliseconds_since(*started);
      },
      [milliseconds](Napi::Env env) { return Napi::Number::New(env, *milliseconds); });
}

void StreamObject::dispose(const Napi::CallbackInfo &info) {
  if (stream_ == nullptr) return;
  idle(info.Env());
  started_.reset();
  stream_.reset();
}

}  // namespace kvquant::cuda
