#include "cuda-node/cache-objects.h"

#include "node/arguments.h"
#include "node/codec-options.h"
#include "node/promise-worker.h"
#include "node/rope-options.h"

namespace kvquant::cuda {

using node::byte_view;
using node::call;
using node::floats;
using node::integer;
using node::reject;

namespace {

constexpr uint64_t kLargestInteger = uint64_t{1} << 53;

const double *doubles(const Napi::Value &value, const char *name, size_t length) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array || value.As<Napi::TypedArray>().ElementLength() != length) {
    reject(value.Env(), std::string(name) + ": expected a Float64Array of " + std::to_string(length));
  }
  return value.As<Napi::Float64Array>().Data();
}

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

Napi::Function TablesObject::define(Napi::Env env) { return DefineClass(env, "Tables", {InstanceMethod<&TablesObject::bytes>("bytes")}); }

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

Napi::Function LayerObject::define(Napi::Env env) {
  return DefineClass(env, "Layer",
                     {InstanceMethod<&LayerObject::pages>("pages"), InstanceMethod<&LayerObject::keep_pages>("keepPages"), InstanceMethod<&LayerObject::forget>("forget"), InstanceMethod<&LayerObject::missing>("missing"),
                      InstanceMethod<&LayerObject::attend>("attend"), InstanceMethod<&LayerObject::download_page>("downloadPage"), InstanceMethod<&LayerObject::bytes>("bytes"),
                      InstanceMethod<&LayerObject::dispose>("dispose")});
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
  if (*busy_) reject(env_, "layer: expected one without work running; await it first");
  return *mirror_;
}

void LayerObject::account() {
  const auto bytes = mirror_ == nullptr ? 0 : static_cast<int64_t>(mirror_->bytes());
  if (bytes != accounted_) Napi::MemoryManagement::AdjustExternalMemory(env_, bytes - accounted_);
  accounted_ = bytes;
}

Napi::Value LayerObject::run(const Napi::CallbackInfo &info, std::vector<Napi::Object> held, std::function<void(LayerMirror &)> work) {
  mirror();
  *busy_ = true;
  running_->fetch_add(1);
  held.push_back(info.This().As<Napi::Object>());
  return node::PromiseWorker::start(
      env_, held, [mirror = mirror_, work = std::move(work)] { work(*mirror); },
      [this, busy = busy_, running = running_] {
        *busy = false;
        running->fetch_sub(1);
        account();
      });
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

// attend({ pages, starts, tokens, length, rows, queries, first, visible, out })
Napi::Value LayerObject::attend(const Napi::CallbackInfo &info) {
  const auto options = info[0].As<Napi::Object>();
  std::vector<Napi::Object> held{options};
  AttendCall request{};
  const auto hold = [&](const Napi::Value &value) {
    held.push_back(value.As<Napi::Object>());
    return value;
  };
  const auto pages = options.Get("pages").As<Napi::Array>();
  for (uint32_t index = 0; index < pages.Length(); index++) {
    const auto page = pages.Get(index).As<Napi::Object>();
    const node::Bytes key = byte_view(hold(page.Get("key")), "key"), value = byte_view(hold(page.Get("value")), "value");
    request.pages.push_back({key.data, value.data, key.length, value.length, integer(page, "encodedTokens", KVQ_PAGE_TOKENS)});
  }
  request.tokens = node::copy_integers(options.Get("tokens"), "tokens");
  const double *starts = doubles(options.Get("starts"), "starts", request.tokens.size());
  for (size_t index = 0; index < request.tokens.size(); index++) request.starts.push_back(static_cast<uint64_t>(starts[index]));
  request.length = integer(options.Get("length"), "length", kLargestInteger);
  const auto rows = options.Get("rows").As<Napi::Array>();
  for (uint32_t index = 0; index < rows.Length(); index++) {
    const auto row = rows.Get(index).As<Napi::Object>();
    const size_t count = integer(row, "count");
    const size_t columns = integer(options, "columns");
    request.rows.push_back({integer(row.Get("position"), "position", kLargestInteger), count, floats(hold(row.Get("keys")), "keys", count * columns), floats(hold(row.Get("values")), "values", count * columns)});
  }
  request.visible = node::copy_integers(options.Get("visible"), "visible");
  request.count = request.visible.size();
  request.first = integer(options.Get("first"), "first", kLargestInteger);
  const size_t query_columns = integer(options, "queryColumns");
  request.queries = floats(hold(options.Get("queries")), "queries", request.count * query_columns);
  request.out = floats(hold(options.Get("out")), "out", request.count * query_columns);
  call(env_, [&] { mirror().check_columns(integer(options, "columns"), query_columns); });
  return run(info, std::move(held), [request = std::move(request)](LayerMirror &layer) { layer.attend(request); });
}

// downloadPage(index, key, value)
Napi::Value LayerObject::download_page(const Napi::CallbackInfo &info) {
  const size_t index = integer(info[0], "index", kLargestInteger);
  const node::Bytes key = byte_view(info[1], "key"), value = byte_view(info[2], "value");
  return run(info, {info[1].As<Napi::Object>(), info[2].As<Napi::Object>()}, [=](LayerMirror &layer) {
    layer.download_page(index, const_cast<uint8_t *>(key.data), key.length, const_cast<uint8_t *>(value.data), value.length);
  });
}

Napi::Value LayerObject::bytes(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(mirror().bytes())); }

void LayerObject::dispose(const Napi::CallbackInfo &) {
  mirror_.reset();
  account();
}

}  // namespace kvquant::cuda
