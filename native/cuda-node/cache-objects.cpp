#include "cuda-node/cache-objects.h"

#include "cuda-node/attend-request.h"
#include "cuda-node/batch-attention.h"
#include "node/arguments.h"
#include "node/codec-options.h"
#include "node/promise-worker.h"
#include "node/rope-options.h"

namespace kvquant::cuda {

using node::byte_view;
using node::call;
using node::integer;
using node::reject;

namespace {

constexpr uint64_t kLargestInteger = uint64_t{1} << 53;

}  // namespace

Napi::Function KernelsObject::define(Napi::Env env) {
  return DefineClass(env, "Kernels", {InstanceMethod<&KernelsObject::resources>("resources"), InstanceMethod<&KernelsObject::work_bytes>("workBytes")});
}

KernelsObject::KernelsObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<KernelsObject>(info) {
  DeviceObject &device = unwrap<DeviceObject>(info[0]);
  std::map<std::string, std::string> images;
  const auto families = info[1].As<Napi::Object>();
  const Napi::Array names = families.GetPropertyNames();
  for (uint32_t index = 0; index < names.Length(); index++) {
    const Napi::Value name = names.Get(index);
    const node::Bytes image = byte_view(families.Get(name), "image");
    images.emplace(name.ToString().Utf8Value(), std::string(reinterpret_cast<const char *>(image.data), image.length));
  }
  running_ = device.running();
  call(info.Env(), [&] { kernels_ = std::make_shared<KernelSet>(device.device(), std::move(images)); });
}

// resources(name): of a kernel
Napi::Value KernelsObject::resources(const Napi::CallbackInfo &info) {
  KernelResources resources{};
  call(info.Env(), [&] {
    const std::lock_guard<std::mutex> lock(kernels_->mutex());
    resources = kernels_->kernel(info[0].ToString().Utf8Value()).resources();
  });
  return to_object(info.Env(), resources);
}

Napi::Value KernelsObject::work_bytes(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(kernels_->work_bytes())); }

Napi::Function TablesObject::define(Napi::Env env) { return DefineClass(env, "Tables", {InstanceMethod<&TablesObject::bytes>("bytes"), InstanceMethod<&TablesObject::attend>("attend")}); }

TablesObject::TablesObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<TablesObject>(info) {
  const Napi::Env env = info.Env();
  const KernelsObject &kernels = unwrap<KernelsObject>(info[0]);
  const auto options = info[1].As<Napi::Object>();
  const CacheShape shape{integer(options, "queryHeads"), integer(options, "kvHeads"), integer(options, "headDim", 1024), integer(options, "sinkTokens", KVQ_PAGE_TOKENS)};
  if (shape.kv_heads == 0 || shape.query_heads == 0 || shape.query_heads % shape.kv_heads != 0) reject(env, "queryHeads: expected whole groups of the KV heads");
  if (shape.head_dim == 0 || shape.head_dim % 8 != 0) reject(env, "headDim: expected a multiple of 8");
  Rope rope = node::read_rope(options, shape.head_dim);
  std::vector<CacheTables::Codecs> layers;
  const auto list = options.Get("layers").As<Napi::Array>();
  for (uint32_t index = 0; index < list.Length(); index++) {
    const Napi::Value value = list.Get(index);
    if (!value.IsObject()) {
      layers.push_back({});
      continue;
    }
    const auto layer = value.As<Napi::Object>();
    KeyArrays keys = node::read_key_arrays(layer.Get("key").As<Napi::Object>());
    ValueArrays values = node::read_value_arrays(layer.Get("value").As<Napi::Object>());
    call(env, [&] { layers.push_back({std::make_shared<const KeyCodec>(std::move(keys)), std::make_shared<const ValueCodec>(std::move(values))}); });
  }
  running_ = kernels.running();
  call(env, [&] { tables_ = std::make_shared<CacheTables>(kernels.kernels(), shape, std::move(rope), layers); });
}

Napi::Value TablesObject::bytes(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(tables_->bytes())); }

// attend(layer, [{ layer, ... }]): attention of several sequences (attend-request.h) in the same launches; resolves to what became of each, undefined or an error
Napi::Value TablesObject::attend(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const size_t layer = integer(info[0], "layer", tables_->layers() - 1);
  const auto requests = info[1].As<Napi::Array>();
  const auto outcomes = std::make_shared<Napi::Reference<Napi::Array>>(Napi::Persistent(Napi::Array::New(env, requests.Length())));
  // Those that could be started: their places in `requests`, their layers, and their calls.
  struct Batch {
    std::vector<uint32_t> places;
    std::vector<LayerObject *> layers;
    std::vector<SequenceAttention> sequences;
  };
  const auto batch = std::make_shared<Batch>();
  std::vector<Napi::Object> held{info.This().As<Napi::Object>()};
  for (uint32_t place = 0; place < requests.Length(); place++) {
    try {
      const auto request = requests.Get(place).As<Napi::Object>();
      LayerObject &object = unwrap<LayerObject>(request.Get("layer"));
      const LayerMirror &mirror = object.mirror();
      const size_t columns = integer(request, "columns"), query_columns = integer(request, "queryColumns");
      call(env, [&] { mirror.check_request(tables_, layer, columns, query_columns); });
      AttendCall attend = read_attend_request(request, held);
      batch->sequences.push_back({object.begin(), std::move(attend), nullptr});
      batch->places.push_back(place);
      batch->layers.push_back(&object);
      held.push_back(object.Value());
    } catch (const Napi::Error &error) {
      outcomes->Value().Set(place, error.Value());
    }
  }
  return node::PromiseWorker::start(
      env, held, [tables = tables_, layer, batch] { attend_together(*tables, layer, batch->sequences); },
      [batch] {
        for (LayerObject *object : batch->layers) object->end();
      },
      [outcomes, batch](Napi::Env environment) -> Napi::Value {
        for (size_t index = 0; index < batch->sequences.size(); index++) {
          const std::exception_ptr &failure = batch->sequences[index].failure;
          const Napi::Value outcome = failure == nullptr ? environment.Undefined() : node::catch_failure([&] { std::rethrow_exception(failure); }).to_error(environment).Value();
          outcomes->Value().Set(batch->places[index], outcome);
        }
        return outcomes->Value();
      });
}

Napi::Function LayerObject::define(Napi::Env env) {
  return DefineClass(env, "Layer",
                     {InstanceMethod<&LayerObject::pages>("pages"), InstanceMethod<&LayerObject::keep_pages>("keepPages"), InstanceMethod<&LayerObject::forget>("forget"), InstanceMethod<&LayerObject::missing>("missing"),
                      InstanceMethod<&LayerObject::download_page>("downloadPage"), InstanceMethod<&LayerObject::bytes>("bytes"), InstanceMethod<&LayerObject::dispose>("dispose")});
}

LayerObject::LayerObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<LayerObject>(info), env_(info.Env()) {
  if (info.Length() == 1) {
    const LayerObject &other = unwrap<LayerObject>(info[0]);
    running_ = other.running_;
    call(env_, [&] { mirror_ = std::make_shared<LayerMirror>(other.mirror()); });
  } else {
    const TablesObject &tables = unwrap<TablesObject>(info[0]);
    const auto layer = integer(info[1], "layer", tables.tables()->layers() - 1);
    running_ = tables.running();
    call(env_, [&] { mirror_ = std::make_shared<LayerMirror>(tables.tables(), layer); });
  }
  account();
}

LayerObject::~LayerObject() {
  mirror_.reset();
  account();
}

LayerMirror &LayerObject::mirror() const {
  if (mirror_ == nullptr) throw node::Failure{"DISPOSED", "expected a live layer, got one already disposed"}.to_error(env_);
  if (busy_) reject(env_, "layer: expected one without work running; await it first");
  return *mirror_;
}

void LayerObject::account() {
  const auto bytes = mirror_ == nullptr ? 0 : static_cast<int64_t>(mirror_->bytes());
  if (bytes != accounted_) Napi::MemoryManagement::AdjustExternalMemory(env_, bytes - accounted_);
  accounted_ = bytes;
}

const std::shared_ptr<LayerMirror> &LayerObject::begin() {
  mirror();
  busy_ = true;
  running_->fetch_add(1);
  return mirror_;
}

void LayerObject::end() {
  busy_ = false;
  running_->fetch_sub(1);
  account();
}

Napi::Value LayerObject::pages(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(mirror().pages())); }

void LayerObject::keep_pages(const Napi::CallbackInfo &info) {
  mirror().keep_pages(integer(info[0], "count", kLargestInteger));
  account();
}

void LayerObject::forget(const Napi::CallbackInfo &info) { mirror().forget(integer(info[0], "position", kLargestInteger)); }

// missing(start): [first missing sink, first missing position from start on]
Napi::Value LayerObject::missing(const Napi::CallbackInfo &info) {
  const LayerMirror::Missing missing = mirror().missing(integer(info[0], "start", kLargestInteger));
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(uint32_t{0}, static_cast<double>(missing.sinks));
  result.Set(uint32_t{1}, static_cast<double>(missing.open));
  account();
  return result;
}

// downloadPage(index, key, value)
Napi::Value LayerObject::download_page(const Napi::CallbackInfo &info) {
  const size_t index = integer(info[0], "index", kLargestInteger);
  const node::Bytes key = byte_view(info[1], "key"), value = byte_view(info[2], "value");
  return node::PromiseWorker::start(
      env_, {info.This().As<Napi::Object>(), info[1].As<Napi::Object>(), info[2].As<Napi::Object>()},
      [=, mirror = begin()] { mirror->download_page(index, const_cast<uint8_t *>(key.data), key.length, const_cast<uint8_t *>(value.data), value.length); }, [this] { end(); });
}

Napi::Value LayerObject::bytes(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(mirror().bytes())); }

void LayerObject::dispose(const Napi::CallbackInfo &) {
  mirror_.reset();
  account();
}

}  // namespace kvquant::cuda
